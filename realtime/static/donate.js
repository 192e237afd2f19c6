// Give without goods: amount, cause, and, only with a mark of consent, words for the stream. Anonymous unless told
// otherwise. The gift is an attempt like an order: kept until it is known, so that it counts once.

import { Amounts, presetsOf } from "./amounts.js";
import { Refusal } from "./api.js";
import { Attempt } from "./attempt.js";
import { Causes } from "./causes.js";
import { el, say } from "./dom.js";
import { t } from "./giving_words.js";
import { named } from "./i18n.js";
import { money } from "./money.js";

const PRESETS = [10, 50, 100, 500];
export const WORDS_MAX = { name: 32, message: 200, dedication: 100 };

// The fields for what is said with a gift, and the consent to show it.
export class SaidWith {
  constructor() {
    this.fields = {};
    const labels = Object.entries(WORDS_MAX).map(([name, most]) => {
      const long = name === "message";
      this.fields[name] = el(long ? "textarea" : "input", { name, maxlength: most, rows: long ? 2 : null, autocomplete: "off" });
      return el("label", {}, t(name), this.fields[name]);
    });
    this.show = el("input", { type: "checkbox", name: "show", "aria-describedby": "donate-problem" });
    this.nodes = [
      ...labels,
      el("label", { class: "check" }, this.show, el("span", {}, t("show"))),
      el("p", { class: "soft small gap" }, t("erasable")),
    ];
  }

  body() {
    const said = {};
    for (const [name, field] of Object.entries(this.fields)) if (field.value.trim()) said[name] = field.value.trim();
    if (Object.keys(said).length || this.show.checked) said.show = this.show.checked;
    return said;
  }

  trouble() {
    const { show, ...said } = this.body();
    return show && Object.keys(said).length === 0 ? t("sayFirst") : null;
  }
}

export class Donate {
  constructor(front, onGiven) {
    this.front = front;
    this.onGiven = onGiven;
    this.attempt = new Attempt(front.id, "donations");
    this.busy = false;
    const { currency, gifts } = front;
    const { causes } = gifts;
    const presets = presetsOf(PRESETS, currency, gifts.min_minor, gifts.max_minor);
    const changed = () => this.paint();
    this.amounts = new Amounts({ id: "donate", name: t("amount"), presets, currency, onChange: changed });
    this.causes = new Causes(causes, currency, changed);
    this.said = new SaidWith();
    this.message = el("p", { class: "note", id: "donate-problem", hidden: true });
    this.button = el("button", { class: "wide", type: "submit", id: "give" });
    const submit = (event) => {
      event.preventDefault();
      this.give();
    };
    const text = causes.length === 1 ? `${t("to")}: ${named(causes[0])}` : t("giveText");
    this.form = el(
      "form",
      { onsubmit: submit, novalidate: true },
      el("p", { class: "soft small" }, text),
      this.amounts.node,
      causes.length > 1 ? this.causes.node : null,
      el("details", { class: "inner" }, el("summary", {}, t("words")), ...this.said.nodes),
      el("div", { role: "alert" }, this.message),
      this.button,
    );
    const title = el("summary", {}, el("h2", { class: "h2" }, t("giveTitle")));
    this.node = el("details", { class: "card fold", id: "donate" }, title, this.form);
    this.paint();
  }

  tell(text, kind = "bad") {
    this.message.className = `note ${kind}`;
    this.message.hidden = !text;
    say(this.message, text ?? "");
  }

  trouble() {
    const { currency, gifts: terms } = this.front;
    const amount = this.amounts.value();
    if (amount === null) return t("amountBad");
    if (amount < terms.min_minor) return t("tooSmall", { amount: money(terms.min_minor, currency) });
    if (amount > terms.max_minor) return t("tooLarge", { amount: money(terms.max_minor, currency) });
    return this.causes.trouble() ?? this.said.trouble();
  }

  // The word of it stands by the button; the focus goes to the field that can mend it.
  complain(trouble) {
    this.tell(trouble);
    const silent = trouble === this.said.trouble();
    this.amounts.mark(!silent && trouble !== this.causes.trouble());
    (silent ? this.said.fields.name : this.amounts.input).focus();
  }

  paint() {
    if (this.busy) return;
    const amount = this.amounts.value();
    this.causes.paint(amount || 0);
    this.button.disabled = !amount;
    say(this.button, amount ? t("give", { amount: money(amount, this.front.currency) }) : t("giveChoose"));
    this.tell(null);
  }

  give() {
    if (this.busy) return;
    const trouble = this.trouble();
    if (trouble) return this.complain(trouble);
    const causes = this.causes.shares();
    const body = { amount_minor: this.amounts.value(), ...(causes && { causes }), ...this.said.body() };
    this.attempt.begin(body);
    return this.finish();
  }

  // Also for an attempt that a reload interrupted.
  async finish() {
    this.busy = true;
    this.node.open = true;
    this.button.disabled = true;
    say(this.button, t("giving"));
    this.tell(null);
    let refused = null;
    try {
      this.onGiven(await this.attempt.finish(() => this.tell(t("giveWaiting"), "")));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refused = error.message;
    } finally {
      this.busy = false;
    }
    this.paint();
    this.tell(refused);
  }
}
