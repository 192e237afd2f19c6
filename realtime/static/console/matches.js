// Sponsors' matches as they are drawn from: the pots live. Only operators promise other people's money, so only they
// get the form; a host sees what is on.

import { el, say } from "../dom.js";
import { named, translator } from "../i18n.js";
import { minorOf } from "../money.js";
import { matchText } from "../promises.js";
import { sendOnce } from "./act.js";
import { button, card, field, form, replaceIfNew, select } from "./panel.js";

const w = translator({
  title: ["Matches", "配捐"],
  none: ["No sponsor adds anything.", "暂无赞助配捐。"],
  on: ["On", "进行中"],
  off: ["Not on", "未进行"],
  ask: ["The organiser starts and ends matches.", "配捐由主办方开始和结束。"],
  start: ["Start a match", "开始配捐"],
  sponsor: ["Sponsor", "赞助方"],
  ratio: ["Adds, in % of each gift", "按捐赠额的百分比"],
  pot: ["Pot in {currency}", "总额（{currency}）"],
  covers: ["Covers", "范围"],
  gifts: ["Gifts", "捐赠"],
  shares: ["What of each sale goes to the cause", "销售中的公益部分"],
  all: ["Both", "全部"],
  started: ["The match is on.", "配捐已开始。"],
  end: ["End", "结束"],
  ended: ["Orders from now on are not matched.", "此后的订单不再配捐。"],
  bad: ["A sponsor, a percentage and a pot, please.", "请填写赞助方、百分比和总额。"],
});

export class MatchesPanel {
  constructor(desk) {
    this.desk = desk;
    this.mayChange = desk.me.role === "operator";
    this.campaign = `/campaigns/${encodeURIComponent(desk.front.campaign.id)}/matches`;
    this.list = el("ul", { class: "plain", id: "pots" });
    this.none = el("p", { class: "soft" }, w("none"));
    const rest = this.mayChange ? this.startForm() : el("p", { class: "soft small" }, w("ask"));
    this.node = card(w("title"), {}, this.none, this.list, rest);
  }

  take(part, state) {
    if (part !== "matches") return;
    this.none.hidden = state.items.length > 0;
    const who = state.items.map((pot) => [pot.id, pot.on, pot.ends_at]);
    replaceIfNew(this.list, JSON.stringify(who), () => state.items.map((pot) => this.row(pot)));
    state.items.forEach((pot, index) => this.seePot(this.list.children[index], pot, state.currency));
  }

  row(pot) {
    const end = button(`end-${pot.id}`, w("end"), (node) => {
      const body = { ends_at: new Date().toISOString() };
      const path = `${this.campaign}/${encodeURIComponent(pot.id)}`;
      return this.desk.act(node, () => this.desk.api("PATCH", path, body), () => w("ended"));
    });
    return el(
      "li",
      { "data-pot": pot.id },
      el("div", { class: "spread" }, el("b", {}, named(pot, "sponsor")), el("span", { class: pot.on ? "badge on" : "badge" }, w(pot.on ? "on" : "off"))),
      el("p", { class: "small" }),
      el("div", { class: "bar" }, el("i")),
      this.mayChange && pot.on ? end : "",
    );
  }

  seePot(node, pot, currency) {
    say(node.querySelector("p"), matchText(pot, currency));
    node.querySelector("i").style.setProperty("--part", `${pot.pot_minor ? (pot.left_minor * 100) / pot.pot_minor : 0}%`);
  }

  startForm() {
    const { currency } = this.desk.front;
    const sponsor = field(w("sponsor"), { maxlength: 80 });
    const ratio = field(w("ratio"), { type: "number", min: 1, max: 1000, step: 1, value: 100, inputmode: "numeric" });
    const pot = field(w("pot", { currency }), { inputmode: "decimal", maxlength: 16 });
    const covers = select(w("covers"), ["gifts", "shares", "all"].map((name) => [name, w(name)]));
    const start = el("button", { type: "submit" }, w("start"));
    const send = async () => {
      const [percent, minor] = [Number(ratio.input.value), minorOf(pot.input.value, currency)];
      if (!sponsor.input.value.trim() || !Number.isInteger(percent) || percent < 1 || !minor) {
        return this.desk.say(start, w("bad"), true);
      }
      const body = {
        sponsor: sponsor.input.value.trim(),
        ratio_bp: percent * 100,
        pot_minor: minor,
        covers: covers.input.value,
        stream_id: this.desk.stream.id,
      };
      const done = await this.desk.act(start, () => sendOnce(this.desk.api, this.campaign, body), () => w("started"));
      if (done) node.reset();
      return done;
    };
    const node = form(send, sponsor.node, ratio.node, pot.node, covers.node, start);
    return el("details", { class: "inner" }, el("summary", {}, w("start")), node);
  }
}
