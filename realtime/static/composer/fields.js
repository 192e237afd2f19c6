// A form made of an overlay's rules: each rule of static/overlay/parameters.js tells how it wants to be asked for and
// reads what was typed, so that this page and an overlay never disagree about what an address may say.

import { el, say } from "../dom.js";
import { called, meant, t } from "./words.js";

const HEX = /^#[0-9a-f]{6}$/i;

function choice({ ask }, value, put) {
  const [standard, ...rest] = ask.allowed;
  const select = el("select", { onchange: () => put(select.value) });
  select.append(el("option", { value: "" }, meant(standard)));
  for (const word of rest) select.append(el("option", { value: word, selected: word === value }, meant(word)));
  return select;
}

function words({ ask, fallback }, value, put) {
  const picked = new Set(value ? value.split(",") : fallback);
  const boxes = ask.allowed.map((word) => {
    const box = el("input", { type: "checkbox", value: word, checked: picked.has(word) });
    return el("label", { class: "check" }, box, meant(word));
  });
  const node = el("div", { class: "several" }, ...boxes);
  node.addEventListener("change", () => put([...node.querySelectorAll("input:checked")].map((box) => box.value).join(",")));
  return node;
}

function number({ ask, fallback }, value, put) {
  const { least, most, step } = ask;
  const input = el("input", {
    type: "number",
    inputmode: "decimal",
    min: least,
    max: most,
    step,
    value,
    placeholder: fallback ?? t("standard"),
    oninput: () => put(input.value),
  });
  return input;
}

function flag({ fallback }, value, put) {
  const isOn = value === "" ? fallback : value === "1";
  const box = el("input", { type: "checkbox", checked: isOn, onchange: () => put(box.checked === fallback ? "" : box.checked ? "1" : "0") });
  return box;
}

function colour(rule, value, put) {
  const input = el("input", { type: "color", value: HEX.test(value) ? value : "#ffb636" });
  const clear = el("button", { type: "button", class: "quiet small", onclick: () => take("") }, t("clear"));
  const take = (text) => {
    clear.disabled = !text;
    input.classList.toggle("unset", !text);
    put(text.replace("#", ""));
  };
  input.addEventListener("input", () => take(input.value));
  clear.disabled = !value;
  input.classList.toggle("unset", !value);
  return el("div", { class: "colour" }, input, clear);
}

function plate(rule, value, put) {
  const own = !["", "plate", "none"].includes(value);
  const input = el("input", { type: "color", value: own && HEX.test(`#${value}`) ? `#${value}` : "#1b171a", hidden: !own });
  const select = el(
    "select",
    {},
    el("option", { value: "" }, meant("plate")),
    el("option", { value: "none", selected: value === "none" }, meant("none")),
    el("option", { value: "own", selected: own }, t("ownColour")),
  );
  const take = () => {
    input.hidden = select.value !== "own";
    put(select.value === "own" ? input.value.replace("#", "") : select.value);
  };
  select.addEventListener("change", take);
  input.addEventListener("input", take);
  return el("div", { class: "colour" }, select, input);
}

function text({ fallback }, value, put) {
  const input = el("input", { type: "text", value, autocomplete: "off", spellcheck: "false", placeholder: fallback ?? t("standard"), oninput: () => put(input.value.trim()) });
  return input;
}

const MAKERS = { choice, words, number, flag, colour, plate, text };

// One field: put(text) is called with what goes into the address, "" for the standard, null while it is not understood.
export function field(name, rule, value, put) {
  const error = el("span", { class: "wrong small", role: "alert", hidden: true });
  const take = (given) => {
    const understood = given === "" || rule.read(given) !== undefined;
    error.hidden = understood;
    say(error, understood ? "" : t("bad", { hint: rule.hint }));
    control.toggleAttribute("aria-invalid", !understood);
    put(understood ? given : null);
  };
  const control = MAKERS[rule.ask.as](rule, value, take);
  const label = rule.ask.as === "flag" ? [control, called(name)] : [called(name), control];
  // Several controls in one field are a group with a name; one control is in its label.
  const grouped = ["words", "colour", "plate"].includes(rule.ask.as);
  const inner = grouped ? el("div", { class: "field", role: "group", "aria-label": called(name) }, el("span", {}, called(name)), control) : el("label", { class: rule.ask.as === "flag" ? "check" : "field" }, ...label);
  return el("div", { class: "asked", "data-parameter": name }, inner, error);
}
