// To whom a gift goes: one cause, or several by sliders. Parts are turned into basis points that always sum to
// 10,000, so there is no way to choose shares that do not add up.

import { el, say } from "./dom.js";
import { t } from "./giving_words.js";
import { locale, named } from "./i18n.js";
import { money } from "./money.js";
import { largestRemainder } from "./sums.js";

const PARTS_MAX = 10;
const CAUSES_MAX = 10;
const SEVERAL = "several";

export class Causes {
  constructor(causes, currency, onChange) {
    Object.assign(this, { causes, currency, onChange });
    this.sliders = new Map();
    this.amountMinor = 0;
    this.select = el(
      "select",
      { onchange: () => this.changed() },
      ...causes.map((cause) => el("option", { value: cause.id }, named(cause))),
      causes.length > 1 ? el("option", { value: SEVERAL }, t("several")) : null,
    );
    this.problem = el("p", { class: "note bad", hidden: true });
    this.split = el("div", { class: "split", hidden: true }, ...causes.map((cause) => this.slider(cause)));
    this.split.append(el("p", { class: "soft small" }, t("remainder")));
    const lone = el("p", { class: "soft small" }, `${t("to")}: ${named(causes[0])}`);
    this.node = causes.length > 1 ? el("div", {}, el("label", {}, t("to"), this.select), this.split, el("div", { role: "alert" }, this.problem)) : lone;
  }

  slider(cause) {
    const name = named(cause);
    const told = el("span", { class: "num part" });
    const bounds = { type: "range", min: 0, max: PARTS_MAX, step: 1, value: PARTS_MAX / 2 };
    const range = el("input", { ...bounds, "aria-label": name, oninput: () => this.changed() });
    this.sliders.set(cause.id, { range, told });
    return el("div", { class: "slider" }, el("div", { class: "spread" }, el("span", {}, name), told), range);
  }

  isSeveral() {
    return this.select.value === SEVERAL;
  }

  // [{beneficiary_id, share_bp}], each at least one basis point, 10,000 in all.
  shares() {
    if (this.causes.length === 1) return undefined;
    if (!this.isSeveral()) return [{ beneficiary_id: this.select.value, share_bp: 10_000 }];
    const parts = this.causes.map((cause) => Number(this.sliders.get(cause.id).range.value));
    const bps = largestRemainder(10_000, parts);
    return this.causes
      .map((cause, index) => ({ beneficiary_id: cause.id, share_bp: bps[index] }))
      .filter((share) => share.share_bp > 0);
  }

  // What keeps these causes from being sent, in words, or null.
  trouble() {
    const chosen = this.shares()?.length;
    if (chosen === 0) return t("causesNone");
    return chosen > CAUSES_MAX ? t("causesMax") : null;
  }

  changed() {
    this.paint(this.amountMinor);
    this.onChange();
  }

  paint(amountMinor) {
    this.amountMinor = amountMinor;
    this.split.hidden = !this.isSeveral();
    const trouble = this.trouble();
    this.problem.hidden = !trouble;
    say(this.problem, trouble ?? "");
    if (!this.isSeveral()) return;
    const shares = this.shares();
    const amounts = largestRemainder(amountMinor, shares.map((share) => share.share_bp));
    const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 2 });
    for (const { id } of this.causes) {
      const index = shares.findIndex((share) => share.beneficiary_id === id);
      const bp = index < 0 ? 0 : shares[index].share_bp;
      const amount = money(index < 0 ? 0 : amounts[index], this.currency);
      const { range, told } = this.sliders.get(id);
      const text = t("shareOf", { percent: percent.format(bp / 10_000), amount });
      say(told, text);
      range.setAttribute("aria-valuetext", text);
    }
  }
}
