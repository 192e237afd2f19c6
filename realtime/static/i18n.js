// Two languages, chosen by ?locale=, then by the switch, then by the browser.

import { el } from "./dom.js";
import { recall, remember } from "./memory.js";

const CHOSEN = "se.locale";

function choose() {
  // An overlay keeps nothing in the browser, so it looks for nothing there either.
  const chosen = document.documentElement.classList.contains("overlay") ? null : recall(CHOSEN);
  const wanted = new URLSearchParams(location.search).get("locale") || chosen || navigator.language || "en";
  return /^zh/i.test(wanted) ? "zh-CN" : "en";
}

export const locale = choose();
const chinese = locale === "zh-CN";
document.documentElement.lang = locale;

// Letters from right to left, and marks that turn the direction of what follows them.
const TURNING = /[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

// Somebody's words in a line of ours: what is written from right to left would draw the amount beside it to its other
// side, so it is kept apart (by the isolates of Unicode, which nobody sees).
export function apart(text) {
  return TURNING.test(text) ? `\u2068${text}\u2069` : text;
}

// words: { key: ["English", "中文"] }, with {name} for what is filled in.
export function translator(words) {
  return (key, values = {}) =>
    words[key][chinese ? 1 : 0].replace(/\{(\w+)\}/g, (_, name) => apart(String(values[name])));
}

// The name in the reader's language, where there is one.
export function named(thing, field = "name") {
  return (chinese && thing[`${field}_zh`]) || thing[field] || "";
}

export function count(number) {
  return new Intl.NumberFormat(locale).format(number);
}

export function clock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${Math.floor((whole % 3600) / 60)}:${two(whole % 60)}`;
  return hours ? `${hours}:${rest.padStart(5, "0")}` : rest;
}

export function timeOfDay(at) {
  return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(
    new Date(at),
  );
}

export function timeAndDay(at) {
  const parts = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat(locale, parts).format(new Date(at));
}

export function localeSwitch() {
  const other = chinese ? "English" : "中文";
  return el(
    "button",
    {
      class: "quiet locale",
      type: "button",
      lang: chinese ? "en" : "zh-CN",
      onclick: () => {
        remember(CHOSEN, chinese ? "en" : "zh-CN");
        const url = new URL(location.href);
        if (!url.searchParams.has("locale")) return location.reload();
        url.searchParams.delete("locale");
        location.replace(url);
      },
    },
    other,
  );
}
