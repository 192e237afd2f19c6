// What must be reached in a second: panic, mute, skip, each in all groups of overlays at once. The bar stays on screen wherever the host has scrolled to, and
// while panic is on nobody can overlook it.

import { el, say } from "../dom.js";
import { count, translator } from "../i18n.js";
import { groupOf } from "./groups.js";
import { button } from "./panel.js";

const w = translator({
  bar: ["At once", "立即操作"],
  panic: ["PANIC", "紧急隐藏"],
  back: ["Back on air", "恢复播出"],
  isPanic: ["PANIC is on: overlays show nothing but totals.", "紧急隐藏中：叠加层仅显示总额。"],
  panicOn: ["Overlays show nothing but totals now.", "叠加层现在仅显示总额。"],
  panicOff: ["Alerts and names are back.", "提醒与姓名已恢复。"],
  mute: ["Mute", "静音"],
  unmute: ["Unmute", "取消静音"],
  muted: ["Alerts wait, none is shown.", "提醒已暂停显示。"],
  unmuted: ["Alerts are shown again.", "提醒恢复显示。"],
  skip: ["Skip", "跳过"],
  skipped: ["Skipped.", "已跳过。"],
  over: ["It was over already.", "该提醒已结束。"],
  waiting: ["{n} waiting", "{n} 条排队"],
});

export class QuickBar {
  constructor(desk) {
    this.desk = desk;
    this.alerts = null;
    this.groups = new Map();
    this.panic = button("panic", w("panic"), (node) => this.set(node, "panic"), { kind: "panic", key: "P", "aria-pressed": "false" });
    this.mute = button("mute", w("mute"), (node) => this.set(node, "muted"), { key: "m", "aria-pressed": "false" });
    this.skip = button("skip", w("skip"), (node) => this.skipNow(node), { key: "s" });
    this.says = el("p", { class: "panic-says", role: "alert", hidden: true }, w("isPanic"));
    this.waiting = el("span", { class: "badge num", id: "alerts-waiting", "aria-live": "polite" });
    const buttons = el("div", { class: "quick-buttons" }, this.panic, this.mute, this.skip, this.waiting);
    this.node = el("section", { class: "quick", "aria-label": w("bar") }, this.says, buttons);
    this.rest();
  }

  take(part, state) {
    const group = groupOf(part);
    if (!group) return;
    // The switches are the same in all groups.
    this.alerts = state;
    this.groups.set(group, state);
    this.node.classList.toggle("panicking", state.panic);
    this.says.hidden = !state.panic;
    say(this.panic.firstChild, w(state.panic ? "back" : "panic"));
    this.panic.setAttribute("aria-pressed", String(state.panic));
    say(this.mute.firstChild, w(state.muted ? "unmute" : "mute"));
    this.mute.setAttribute("aria-pressed", String(state.muted));
    this.rest();
  }

  // A group that is gone has nothing on air, and nobody waits there.
  seeGroups(names) {
    for (const name of this.groups.keys()) if (!names.includes(name)) this.groups.delete(name);
    this.rest();
  }

  waitingInAll() {
    return [...this.groups.values()].reduce((sum, state) => sum + state.waiting, 0);
  }

  onAir() {
    return [...this.groups].filter(([, state]) => state.on_air);
  }

  // Nothing on air, nothing to skip. Panic works even before anything was heard: then it can only be meant as "on".
  rest() {
    const nothing = this.onAir().length === 0;
    this.skip.classList.toggle("idle", nothing);
    this.skip.setAttribute("aria-disabled", String(nothing));
    if (this.alerts) say(this.waiting, w("waiting", { n: count(this.waitingInAll()) }));
  }

  set(node, what) {
    const wanted = !(this.alerts?.[what] ?? false);
    const words = what === "panic" ? ["panicOn", "panicOff"] : ["muted", "unmuted"];
    const send = () => this.desk.api("PUT", this.desk.path(`/alerts/${what}`), { [what]: wanted });
    return this.desk.act(node, send, () => w(words[wanted ? 0 : 1]));
  }

  skipNow(node) {
    const airings = this.onAir().map(([group, state]) => [group, state.on_air.id]);
    if (!airings.length) return null;
    const send = () => Promise.all(airings.map(([group, airing]) => this.desk.skip(group, airing)));
    return this.desk.act(node, send, (answers) => w(answers.every(({ skipped }) => skipped === false) ? "over" : "skipped"));
  }
}
