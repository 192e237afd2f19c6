// Change what one offer costs, or how many of it one shopper may have, while the sale goes on. Terms are stated as a
// whole, so all others are read first and kept; who gets what of the new price is shown before it counts.

import { Refusal, Unknown } from "../api.js";
import { el, say } from "../dom.js";
import { count, translator } from "../i18n.js";
import { minorOf, money } from "../money.js";
import { reasonOf } from "./act.js";
import { field, form } from "./panel.js";

const w = translator({
  title: ["Price and limit", "价格与限购"],
  price: ["New price in {currency}", "新价格（{currency}）"],
  limit: ["At most per shopper", "每人限购"],
  badPrice: ["Type a price such as 29.90.", "请输入价格，例如 29.90。"],
  badLimit: ["A whole number of at least 1.", "请输入不小于 1 的整数。"],
  change: ["Change", "修改"],
  split: ["Of each unit: {farmer} to the farmer, {cause} to the cause, {fees} costs.", "每件：农户 {farmer}，公益 {cause}，成本 {fees}。"],
  later: ["It counts for later orders; those already placed keep their price.", "仅对之后的订单生效，已下订单价格不变。"],
  done: ["From now on {price}, at most {limit} each.", "现价 {price}，每人限购 {limit}。"],
  gone: ["This offer is gone.", "该商品已下架。"],
});
const TERMS = [
  "price_minor",
  "per_shopper_max",
  "beneficiary_id",
  "farmer_bp",
  "beneficiary_bp",
  "fees_bp",
  "beneficiary_fixed_minor",
  "farmer_fixed_minor",
  "beneficiary_cap_minor",
  "farmer_floor_minor",
  "fee_payer",
  "tax_bp",
];
const SHARES = TERMS.slice(3, 10);
const PREVIEW_MS = 250;

function only(names, from) {
  return Object.fromEntries(names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
}

export class PriceForm {
  // row.offer: the offer as it was last heard of.
  constructor(desk, row) {
    Object.assign(this, { desk, row, terms: null, asked: 0 });
    const { currency } = desk.front;
    this.price = field(w("price", { currency }), { inputmode: "decimal", maxlength: 16, oninput: () => this.previewSoon() });
    this.limit = field(w("limit"), { type: "number", min: 1, max: 10_000, step: 1, inputmode: "numeric" });
    this.split = el("p", { class: "soft small num", role: "status" });
    this.change = el("button", { type: "submit", "data-do": `price-${row.offer.sku}` }, w("change"));
    this.node = el(
      "details",
      { class: "inner" },
      el("summary", {}, w("title")),
      form(() => this.send(), this.price.node, this.limit.node, this.change),
      this.split,
      el("p", { class: "soft small" }, w("later")),
    );
    this.node.addEventListener("toggle", () => this.node.open && this.begin());
  }

  async read() {
    const { items } = await this.desk.api("GET", this.desk.path("/offers"));
    const terms = items.find((item) => item.sku === this.row.offer.sku);
    if (!terms) throw new Refusal(404, { detail: w("gone") });
    return terms;
  }

  async begin() {
    await this.quietly(async () => {
      this.terms = await this.read();
      this.price.input.placeholder = money(this.terms.price_minor, this.desk.front.currency);
      this.limit.input.placeholder = count(this.terms.per_shopper_max);
      this.showSplit(this.terms.one_unit);
    });
  }

  showSplit(parts) {
    const amount = (minor) => money(minor, this.desk.front.currency);
    const [farmer, cause, fees] = [parts.farmer_minor, parts.beneficiary_minor, parts.fees_minor].map(amount);
    say(this.split, w("split", { farmer, cause, fees }));
  }

  // What goes wrong with a preview is said where the preview would stand.
  async quietly(work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      say(this.split, reasonOf(error));
    }
  }

  previewSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.preview(), PREVIEW_MS);
  }

  async preview() {
    const price = minorOf(this.price.input.value, this.desk.front.currency);
    if (!price || !this.terms) return;
    this.asked += 1;
    const mine = this.asked;
    await this.quietly(async () => {
      const body = { price_minor: price, ...only(SHARES, this.terms) };
      const { one_unit: parts } = await this.desk.api("POST", "/splits/preview", body);
      if (mine === this.asked) this.showSplit(parts);
    });
  }

  complain(input, text) {
    input.focus();
    return this.desk.say(this.change, text, true);
  }

  async send() {
    const { currency } = this.desk.front;
    const [priceText, limitText] = [this.price.input.value.trim(), this.limit.input.value.trim()];
    const price = priceText ? minorOf(priceText, currency) : null;
    const limit = limitText ? Number(limitText) : null;
    if ((priceText && !price) || (!priceText && !limitText)) return this.complain(this.price.input, w("badPrice"));
    if (limitText && !(Number.isInteger(limit) && limit >= 1)) return this.complain(this.limit.input, w("badLimit"));
    const put = async () => {
      const now = await this.read();
      const body = { ...only(TERMS, now), price_minor: price ?? now.price_minor, per_shopper_max: limit ?? now.per_shopper_max };
      return this.desk.api("PUT", this.desk.path(`/offers/${encodeURIComponent(now.sku)}`), body);
    };
    const done = (answer) => w("done", { price: money(answer.price_minor, currency), limit: count(answer.per_shopper_max) });
    const answer = await this.desk.act(this.change, put, done);
    if (!answer) return null;
    this.price.input.value = "";
    this.limit.input.value = "";
    return this.begin();
  }
}
