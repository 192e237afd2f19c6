// What an overlay's address may ask for. A host types these by hand at midnight, and anybody can send a host a link: so
// each value is held against a rule, what does not fit is left at its default and listed, and no text of an address
// ever becomes a style, markup or a selector. Nothing here touches the page, so that it can be tested and reused.

const IGNORED_MAX = 12;
const SHOWN_CHARS_MAX = 40;

// A rule reads a text and returns its value, or undefined when the text does not fit; `ask` is how a form asks for it.
const rule = (fallback, read, hint, ask = { as: "text" }) => ({ fallback, read, hint, ask });

// One of a few words; the first one is meant when nothing is said.
export const choice = (...allowed) =>
  rule(allowed[0], (text) => (allowed.includes(text) ? text : undefined), allowed.join(" | "), {
    as: "choice",
    allowed,
  });

// Several of a few words, with commas between them.
export const words = (fallback, ...allowed) =>
  rule(
    fallback,
    (text) => {
      const asked = text.split(",");
      return asked.every((word) => allowed.includes(word)) ? [...new Set(asked)] : undefined;
    },
    `some of ${allowed.join(",")}`,
    { as: "words", allowed },
  );

function number(text, least, most) {
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}

export const whole = (fallback, least, most) =>
  rule(fallback, (text) => (/^\d{1,9}$/.test(text) ? number(text, least, most) : undefined), `${least}–${most}`, {
    as: "number",
    least,
    most,
    step: 1,
  });

export const decimal = (fallback, least, most) =>
  rule(fallback, (text) => (/^\d{1,4}(\.\d{1,3})?$/.test(text) ? number(text, least, most) : undefined), `${least}–${most}`, {
    as: "number",
    least,
    most,
    step: 0.05,
  });

// Seconds, written 10 or 10s.
export const seconds = (fallback, least, most) =>
  rule(fallback, (text) => (/^\d{1,5}s?$/.test(text) ? number(text.replace("s", ""), least, most) : undefined), `${least}–${most} s`, {
    as: "number",
    least,
    most,
    step: 1,
  });

// Whole percents, written 10 or 10%.
export const percent = (fallback) =>
  rule(fallback, (text) => (/^\d{1,3}%?$/.test(text) ? number(text.replace("%", ""), 0, 100) : undefined), "0–100 %", {
    as: "number",
    least: 0,
    most: 100,
    step: 1,
  });

export const flag = (fallback = false) =>
  rule(fallback, (text) => ({ 1: true, 0: false, true: true, false: false })[text], "1 | 0", { as: "flag" });

// A colour in hex, with or without its #; only digits get through, so it cannot end a style and begin another.
export const colour = () =>
  rule(
    null,
    (text) => (/^#?([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$/i.test(text) ? `#${text.replace("#", "").toLowerCase()}` : undefined),
    "hex colour",
    { as: "colour" },
  );

export const pattern = (fallback, expression, hint) =>
  rule(fallback, (text) => (expression.test(text) ? text : undefined), hint);

const zone = rule(
  null,
  (text) => {
    try {
      return new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone;
    } catch {
      return undefined;
    }
  },
  "time zone, as Asia/Shanghai",
);

const plate = colour();

// What every widget understands.
export const COMMON = {
  theme: choice("night", "day", "paper"),
  accent: colour(),
  fg: colour(),
  bg: rule("plate", (text) => (["plate", "none"].includes(text) ? text : plate.read(text)), "plate | none | hex colour", {
    as: "plate",
  }),
  size: choice("auto", "stage", "fit"),
  at: choice("auto", "top-left", "top", "top-right", "left", "centre", "right", "bottom-left", "bottom", "bottom-right"),
  radius: whole(null, 0, 60),
  scale: decimal(1, 0.25, 4),
  locale: pattern(null, /^(en|zh)(-[a-z]{2,4})?$/i, "en | zh-CN"),
  tz: zone,
  dir: choice("ltr", "rtl"),
  layout: choice("landscape", "vertical"),
  anim: choice("auto", "on", "reduced", "off"),
  fps_cap: whole(30, 1, 60),
  delay_ms: whole(0, 0, 60_000),
  fallback: choice("last", "dash", "hide"),
  stale_after: seconds(10, 6, 600),
  transport: choice("auto", "ws", "sse", "poll"),
  test: flag(),
  debug: flag(),
  group: pattern("main", /^[a-z0-9-]{1,24}$/, "a-z 0-9 -"),
};

// Read an address's parameters by the common rules and the widget's own; returns the values, and what was ignored.
export function readParameters(search, own = {}) {
  const rules = { ...COMMON, ...own };
  const values = Object.fromEntries(Object.entries(rules).map(([name, { fallback }]) => [name, fallback]));
  const ignored = [];
  const ignore = (name, value, hint) => {
    if (ignored.length >= IGNORED_MAX) return;
    ignored.push({ name: name.slice(0, SHOWN_CHARS_MAX), value: value.slice(0, SHOWN_CHARS_MAX), hint });
  };
  const seen = new Set();
  for (const [name, text] of new URLSearchParams(search)) {
    const known = Object.hasOwn(rules, name) ? rules[name] : null;
    if (!known) ignore(name, text, "unknown");
    else if (seen.has(name)) ignore(name, text, "said twice");
    else {
      const value = known.read(text);
      if (value === undefined) ignore(name, text, known.hint);
      else values[name] = value;
    }
    seen.add(name);
  }
  return { values, ignored };
}
