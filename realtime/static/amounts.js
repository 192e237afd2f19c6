// Choose an amount by one tap, or type one. Amounts are minor units; nothing chosen is 0, nonsense is null.

import { el, say } from "./dom.js";
import { t } from "./giving_words.js";
import { decimals, minorOf, money } from "./money.js";

// Major units; where a currency has no smaller coin its units are small themselves.
export function presetsOf(majors, currency, leastMinor, mostMinor) {
  const digits = decimals(currency);
  const one = digits === 0 ? 100 : 10 ** digits;
  return majors.map((major) => major * one).filter((minor) => minor >= leastMinor && minor <= mostMinor);
}

export class Amounts {
  constructor({ id, name, presets, currency, none = false, onChange }) {
    Object.assign(this, { currency, onChange, chosen: 0 });
    this.buttons = [];
    const chips = el("div", { class: "chips", role: "group", "aria-label": name });
    for (const minor of none ? [0, ...presets] : presets) {
      const text = minor ? money(minor, currency, { round: true }) : t("none");
      const button = el("button", { type: "button", class: "chip", onclick: () => this.choose(minor) }, text);
      this.buttons.push([minor, button]);
      chips.append(button);
    }
    this.input = el("input", {
      inputmode: "decimal",
      autocomplete: "off",
      maxlength: 16,
      // What is wrong with it is said here, or by whoever knows how much may be given.
      "aria-describedby": `${id}-amount-problem ${id}-problem`,
      oninput: () => this.typed(),
    });
    this.problem = el("p", { class: "note bad", id: `${id}-amount-problem`, hidden: true });
    const told = el("div", { role: "alert" }, this.problem);
    this.node = el("div", {}, chips, el("label", {}, t("other", { currency }), this.input), told);
    this.paint();
  }

  value() {
    return this.chosen;
  }

  choose(minor) {
    this.input.value = "";
    this.set(minor);
  }

  typed() {
    this.set(this.input.value.trim() ? minorOf(this.input.value, this.currency) : 0);
  }

  set(minor) {
    this.chosen = minor;
    this.complain(minor === null ? t("amountBad") : null);
    this.paint();
    this.onChange();
  }

  complain(text) {
    this.problem.hidden = !text;
    say(this.problem, text ?? "");
    this.mark(Boolean(text));
  }

  mark(invalid) {
    this.input.setAttribute("aria-invalid", String(invalid));
  }

  paint() {
    const typed = this.input.value.trim() !== "";
    for (const [minor, button] of this.buttons) button.setAttribute("aria-pressed", String(!typed && minor === this.chosen));
  }
}
