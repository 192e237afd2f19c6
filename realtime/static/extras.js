// What somebody may give on top of an order: a gift to chosen causes, more than the price, a rounded-up total. Folded
// away: whoever wants nothing of it never has to look at it.

import { Amounts, presetsOf } from "./amounts.js";
import { Causes } from "./causes.js";
import { el, say } from "./dom.js";
import { t } from "./giving_words.js";
import { decimals, minorOf, money } from "./money.js";

const GIFTS = [5, 10, 20, 50];

export class Extras {
  constructor(front, onChange) {
    this.front = front;
    this.onChange = onChange;
    const { currency } = front;
    const changed = () => this.changed();
    const parts = [];
    if (front.gifts) {
      const presets = presetsOf(GIFTS, currency, front.gifts.min_minor, front.gifts.max_minor);
      this.gift = new Amounts({ id: "extras", name: t("giftOnTop"), presets, currency, none: true, onChange: changed });
      this.causes = new Causes(front.gifts.causes, currency, changed);
      this.whom = el("div", { hidden: true }, this.causes.node);
      parts.push(el("h3", {}, t("giftOnTop")), this.gift.node, this.whom);
    }
    this.more = el("input", { inputmode: "decimal", autocomplete: "off", maxlength: 16, oninput: changed, "aria-describedby": "extras-problem" });
    this.step = 10 ** decimals(currency) * (decimals(currency) === 0 ? 100 : 10);
    this.round = el("input", { type: "checkbox", onchange: changed });
    this.adds = el("span", { class: "num soft small" });
    const step = money(this.step, currency, { round: true });
    this.problem = el("p", { class: "note bad", id: "extras-problem", hidden: true });
    parts.push(
      el("label", {}, t("extra", { currency }), this.more, el("small", { class: "soft" }, t("extraText"))),
      el("label", { class: "check" }, this.round, el("span", {}, t("roundUp", { step }), " ", this.adds)),
      el("div", { role: "alert" }, this.problem),
    );
    this.told = el("span", { class: "soft small num" }, t("extrasNone"));
    const title = el("summary", {}, el("h2", { class: "h2" }, t("extras")), " ", this.told);
    this.node = el("details", { class: "card fold", id: "extras" }, title, ...parts);
  }

  // The part of the order's body, or null for none. Nonsense is not sent: see trouble().
  body() {
    const body = {};
    const gift = this.gift?.value() || 0;
    if (gift) body.gift = { amount_minor: gift, causes: this.causes.shares() };
    const more = this.moreMinor();
    if (more) body.extra_minor = more;
    if (this.round.checked) body.round_up_to_minor = this.step;
    return Object.keys(body).length ? body : null;
  }

  moreMinor() {
    return this.more.value.trim() ? minorOf(this.more.value, this.front.currency) : 0;
  }

  // What keeps this from being sent, in words, or null. gifts: what the order would give in all.
  trouble(giftsMinor) {
    const { currency, gifts: terms } = this.front;
    const gift = this.gift ? this.gift.value() : 0;
    if (gift === null || this.moreMinor() === null) return t("amountBad");
    if (gift && gift < terms.min_minor) return t("tooSmall", { amount: money(terms.min_minor, currency) });
    if (gift && this.causes.trouble()) return this.causes.trouble();
    if (terms && giftsMinor > terms.max_minor) return t("tooLarge", { amount: money(terms.max_minor, currency) });
    return null;
  }

  changed() {
    if (this.gift) {
      this.whom.hidden = !this.gift.value();
      this.causes.paint(this.gift.value() || 0);
    }
    this.onChange();
  }

  paint(sums) {
    const trouble = this.trouble(sums.gifts);
    this.problem.hidden = !trouble || this.gift?.value() === null;
    say(this.problem, trouble ?? "");
    this.more.setAttribute("aria-invalid", String(this.moreMinor() === null));
    this.gift?.mark(Boolean(trouble) && this.moreMinor() !== null);
    const { currency } = this.front;
    say(this.adds, this.round.checked && sums.goods ? t("roundUpAdds", { amount: money(sums.roundUp, currency) }) : "");
    say(this.told, sums.gifts ? money(sums.gifts, currency) : t("extrasNone"));
  }

  clear() {
    this.gift?.choose(0);
    this.more.value = "";
    this.round.checked = false;
    this.changed();
  }
}
