// What was shown when, and how long it took from the payment to the screen: the list to settle an argument with.

import { Refusal, Unknown } from "../api.js";
import { el, say } from "../dom.js";
import { count, timeOfDay, translator } from "../i18n.js";
import { money } from "../money.js";
import { reasonOf } from "./act.js";
import { MAIN, groupOf } from "./groups.js";
import { button } from "./panel.js";
import { t } from "./words.js";

const w = translator({
  title: ["What was shown", "播出记录"],
  none: ["No alert was shown yet.", "尚未播出提醒。"],
  order: ["order", "订单"],
  gift: ["gift", "捐赠"],
  burst: ["burst", "爆发"],
  test: ["TEST", "测试"],
  took: ["{n} ms from payment", "付款后 {n} 毫秒"],
  ON_AIR: ["on air", "播出中"],
  SHOWN: ["shown", "已上屏"],
  SKIPPED: ["skipped", "已跳过"],
  CLEARED: ["cleared by panic", "紧急隐藏"],
  LOST: ["no overlay said it showed it", "无叠加层确认"],
  orders: ["{n} orders", "{n} 单"],
  again: ["Look again", "刷新"],
});
const OUTCOMES = new Set(["ON_AIR", "SHOWN", "SKIPPED", "CLEARED", "LOST"]);
const ROWS_MAX = 500;

export class ProofPanel {
  constructor(desk) {
    this.desk = desk;
    this.cursor = null;
    this.list = el("ol", { class: "plain proof", id: "airings" });
    this.says = el("p", { class: "soft" });
    this.more = button("more-airings", t("more"), (node) => desk.act(node, () => this.read(), () => null), { hidden: true });
    this.again = button("again-airings", w("again"), (node) => desk.act(node, () => this.fresh(), () => null));
    const buttons = el("div", { class: "buttons" }, this.more, this.again);
    this.node = el("details", { class: "card fold", id: "proof" }, el("summary", {}, w("title")), this.says, this.list, buttons);
    this.node.addEventListener("toggle", () => this.node.open && this.open());
  }

  // The alert topic tells that something was shown; only then is the list worth asking for.
  take(part, state) {
    if (!groupOf(part) || !this.node.open) return;
    const shown = state.on_air?.shown ? state.on_air.id : null;
    if (shown && shown !== this.newest) {
      this.newest = shown;
      this.open();
    }
  }

  async open() {
    try {
      await this.fresh();
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      say(this.says, reasonOf(error));
    }
  }

  fresh() {
    this.cursor = null;
    return this.read();
  }

  async read() {
    const from = this.cursor;
    const query = from ? `&cursor=${encodeURIComponent(from)}` : "";
    const { items, next } = await this.desk.api("GET", this.desk.path(`/airings?limit=50${query}`));
    if (!from) this.list.replaceChildren();
    this.list.append(...items.map((item) => this.row(item)));
    while (this.list.children.length > ROWS_MAX) this.list.lastChild.remove();
    this.cursor = next;
    this.more.hidden = !next || this.list.children.length >= ROWS_MAX;
    say(this.says, this.list.children.length ? "" : w("none"));
  }

  row(item) {
    const parts = [
      item.group === MAIN ? null : item.group,
      w(item.kind),
      money(item.amount_minor, item.currency),
      item.count > 1 ? w("orders", { n: count(item.count) }) : item.order_ids[0]?.slice(-6).toUpperCase(),
      OUTCOMES.has(item.outcome) ? w(item.outcome) : null,
      item.paid_to_shown_ms === null ? null : w("took", { n: count(item.paid_to_shown_ms) }),
    ];
    return el(
      "li",
      { "data-airing": item.id },
      el("span", { class: "num" }, timeOfDay(item.shown_at ?? item.starts_at)),
      " ",
      el("span", {}, parts.filter(Boolean).join(" · ")),
    );
  }
}
