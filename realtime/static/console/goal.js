// The goal everybody sees: what it is now, and a new one.

import { el, say } from "../dom.js";
import { translator } from "../i18n.js";
import { minorOf, money } from "../money.js";
import { card, field, form } from "./panel.js";

const w = translator({
  goal: ["Goal", "目标金额"],
  label: ["Goal in {currency}", "目标（{currency}）"],
  bad: ["Type an amount such as 50000 or 50000.00.", "请输入金额，例如 50000 或 50000.00。"],
  save: ["Set goal", "设置目标"],
  set: ["The goal is set.", "目标已更新。"],
  now: ["Now {amount}", "当前 {amount}"],
  none: ["No goal is shown.", "未显示目标。"],
});

export class GoalPanel {
  constructor(desk) {
    this.desk = desk;
    this.currency = desk.front.currency;
    this.now = el("p", { class: "soft num", id: "goal-now" });
    this.field = field(w("label", { currency: this.currency }), { inputmode: "decimal", id: "goal" });
    this.save = el("button", { type: "submit" }, w("save"));
    this.node = card(w("goal"), {}, this.now, form(() => this.send(), this.field.node, this.save));
    this.see(desk.stream.goal_minor);
  }

  take(part, state) {
    if (part === "tally") this.see(state.goal_minor);
  }

  see(goalMinor) {
    say(this.now, goalMinor ? w("now", { amount: money(goalMinor, this.currency) }) : w("none"));
  }

  send() {
    const { input } = this.field;
    const goal = minorOf(input.value, this.currency);
    if (goal === null) {
      input.focus();
      return this.desk.say(this.save, w("bad"), true);
    }
    const send = () => this.desk.api("PATCH", this.desk.path(), { goal_minor: goal });
    return this.desk.act(this.save, send, () => w("set")).then((done) => {
      if (done) input.value = "";
    });
  }
}
