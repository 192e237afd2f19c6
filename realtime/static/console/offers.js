// What is on sale: pin one to the screen by a tap, put more units on sale, change its price or limit.

import { Refusal } from "../api.js";
import { el, say } from "../dom.js";
import { apart, count, named, translator } from "../i18n.js";
import { money } from "../money.js";
import { button, card, field, form } from "./panel.js";
import { PriceForm } from "./priceform.js";
import { t } from "./words.js";

const w = translator({
  offers: ["Offers", "商品"],
  none: ["Nothing is on the stall. The organiser puts offers up.", "暂无商品，由主办方上架。"],
  left: ["{left} left of {total}", "剩余 {left} / {total}"],
  taken: ["{reserved} held · {sold} sold", "已预订 {reserved} · 已售 {sold}"],
  units: ["Units to add", "增加数量"],
  less: ["Less than 0 takes units off.", "负数表示减少。"],
  add: ["Add", "增加"],
  added: ["Stock is now {total}.", "现有库存 {total}。"],
  bad: ["A whole number, such as 200 or -50.", "请输入整数，例如 200 或 -50。"],
  pin: ["Pin", "置顶"],
  unpin: ["Unpin", "取消置顶"],
  pinned: ["{name} is on screen.", "已置顶：{name}。"],
  unpinned: ["Nothing is pinned.", "已取消置顶。"],
  soldOut: ["Sold out", "已售罄"],
});
const ADD_MAX = 1_000_000;

export class OffersPanel {
  constructor(desk) {
    this.desk = desk;
    this.rows = new Map();
    this.pinnedSku = null;
    this.list = el("div", { id: "offers" });
    this.empty = el("p", { class: "soft" }, w("none"));
    this.node = card(w("offers"), {}, this.empty, this.list);
    for (const offer of desk.front.offers) this.row(offer);
    this.seeStock(desk.front.offers);
  }

  take(part, state) {
    if (part === "stock") this.seeStock(state.items);
    if (part === "board") this.seeBoard(state);
  }

  row(offer) {
    if (this.rows.has(offer.sku)) return this.rows.get(offer.sku);
    const row = { offer };
    row.name = el("h3", {});
    row.left = el("b", { class: "num" });
    row.taken = el("span", { class: "soft small num" });
    row.fill = el("i");
    row.pin = button(`pin-${offer.sku}`, w("pin"), (node) => this.pin(node, offer.sku), { kind: "quiet pin", "aria-pressed": "false" });
    row.node = el(
      "article",
      { class: "offer", "data-sku": offer.sku },
      el("div", { class: "spread" }, row.name, row.pin),
      el("p", {}, row.left, " ", row.taken),
      el("div", { class: "bar" }, row.fill),
      this.stockForm(row),
      new PriceForm(this.desk, row).node,
    );
    this.rows.set(offer.sku, row);
    this.list.append(row.node);
    this.empty.hidden = true;
    this.seeOffer(row, offer);
    return row;
  }

  seeOffer(row, offer) {
    row.offer = { ...row.offer, ...offer };
    say(row.name, `${apart(named(row.offer))} · ${money(row.offer.price_minor, this.desk.front.currency)}`);
    row.pin.setAttribute("aria-label", `${w("pin")}: ${named(row.offer)}`);
  }

  seeStock(items) {
    for (const item of items) {
      const row = this.rows.get(item.sku);
      if (!row) continue;
      row.total = item.total;
      say(row.left, item.left || !item.total ? w("left", { left: count(item.left), total: count(item.total) }) : w("soldOut"));
      say(row.taken, w("taken", { reserved: count(item.reserved), sold: count(item.sold) }));
      row.fill.style.setProperty("--part", `${item.total ? (item.left * 100) / item.total : 0}%`);
    }
  }

  seeBoard(board) {
    this.pinnedSku = board.pinned_sku;
    for (const offer of board.cards) this.seeOffer(this.row(offer), offer);
    for (const [sku, row] of this.rows) {
      const on = sku === board.pinned_sku;
      row.node.classList.toggle("pinned", on);
      row.pin.setAttribute("aria-pressed", String(on));
      say(row.pin.firstChild, w(on ? "unpin" : "pin"));
    }
  }

  // --- pin --------------------------------------------------------------------------------------------------------

  pin(node, sku) {
    const wanted = this.pinnedSku === sku ? null : sku;
    const done = () => (wanted ? w("pinned", { name: named(this.rows.get(sku).offer) }) : w("unpinned"));
    return this.desk.act(node, () => this.desk.api("PATCH", this.desk.path("/board"), { pinned_sku: wanted }), done);
  }

  // The button that puts up the next product, or takes the last one down: what the shortcuts press.
  pinButton(step) {
    const skus = [...this.rows.keys()];
    if (!skus.length) return null;
    const at = skus.indexOf(this.pinnedSku);
    if (step === 0) return at < 0 ? null : this.rows.get(skus[at]).pin;
    const next = at < 0 ? (step > 0 ? 0 : skus.length - 1) : (at + step + skus.length) % skus.length;
    return skus[next] === this.pinnedSku ? null : this.rows.get(skus[next]).pin;
  }

  // --- units ------------------------------------------------------------------------------------------------------

  stockForm(row) {
    const units = field(w("units"), { type: "number", min: -ADD_MAX, max: ADD_MAX, step: 1, inputmode: "numeric", title: w("less") });
    const add = el("button", { type: "submit" }, w("add"));
    const send = async () => {
      const n = Number(units.input.value);
      if (!Number.isInteger(n) || n === 0 || Math.abs(n) > ADD_MAX) {
        units.input.focus();
        return this.desk.say(add, w("bad"), true);
      }
      const done = await this.desk.act(add, () => this.addUnits(row, n), (answer) =>
        answer.total === undefined ? t("done") : w("added", { total: count(answer.total) }),
      );
      if (done) units.input.value = "";
      return done;
    };
    return form(send, units.node, add);
  }

  // Sent with the total it was meant for: a repeat of what had arrived after all is refused, not counted twice.
  async addUnits(row, add) {
    const path = this.desk.path(`/offers/${encodeURIComponent(row.offer.sku)}/stock`);
    try {
      const answer = await this.desk.api("POST", path, { add, total_before: row.total });
      row.total = answer.total ?? row.total;
      return answer;
    } catch (error) {
      if (error instanceof Refusal && error.body.total !== undefined) row.total = error.body.total;
      throw error;
    }
  }
}
