// "Tonight only": from where the second figure on screen counts. Nothing is lost by it; the whole sum stays.

import { confirmed } from "../dialog.js";
import { el, say } from "../dom.js";
import { count, timeAndDay, translator } from "../i18n.js";
import { money } from "../money.js";
import { button, card } from "./panel.js";

const w = translator({
  title: ["Tonight only", "仅计今晚"],
  all: ["It counts from the beginning of the stream.", "从直播开始起计算。"],
  since: ["It counts since {at} (ledger number {seq}).", "自 {at} 起计算（账本编号 {seq}）。"],
  sums: ["{amount} · {orders} orders", "{amount} · {orders} 单"],
  start: ["Begin tonight here", "从此刻开始计今晚"],
  clear: ["Count everything", "计算全部"],
  started: ["Tonight begins now.", "今晚从现在开始计算。"],
  cleared: ["Everything counts again.", "已恢复计算全部。"],
  sureTitle: ["Begin tonight anew?", "重新开始计算今晚？"],
  sureText: ["The figure for tonight goes back to zero on every screen.", "所有屏幕上的“今晚”将归零。"],
  sureYes: ["Begin anew", "重新开始"],
  keep: ["Leave it", "保持不变"],
});

export class TonightPanel {
  constructor(desk) {
    this.desk = desk;
    this.since = el("p", { class: "soft", id: "tonight-since" }, w("all"));
    this.sums = el("b", { class: "num", id: "tonight-sums" });
    this.begin = button("floor", w("start"), (node) => this.start(node));
    this.clear = button("floor-clear", w("clear"), (node) => this.reset(node), { hidden: true });
    const buttons = el("div", { class: "buttons" }, this.begin, this.clear);
    this.node = card(w("title"), {}, el("p", {}, this.sums), this.since, buttons);
  }

  take(part, state) {
    if (part !== "tonight") return;
    this.isSet = state.since_at !== null;
    this.clear.hidden = !this.isSet;
    const at = this.isSet ? timeAndDay(state.since_at) : "";
    say(this.since, this.isSet ? w("since", { at, seq: count(state.since_seq) }) : w("all"));
    say(this.sums, w("sums", { amount: money(state.raised_minor, state.currency), orders: count(state.orders) }));
  }

  async start(node) {
    if (this.isSet) {
      const words = { title: w("sureTitle"), text: w("sureText"), yes: w("sureYes"), no: w("keep") };
      if (!(await confirmed(words))) return;
    }
    await this.desk.act(node, () => this.desk.api("PUT", this.desk.path("/floor"), {}), () => w("started"));
  }

  reset(node) {
    return this.desk.act(node, () => this.desk.api("DELETE", this.desk.path("/floor")), () => w("cleared"));
  }
}
