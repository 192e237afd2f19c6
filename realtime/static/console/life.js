// The sale's life: schedule, open, end; by hand, or at a moment that everybody sees coming. Its state stands on top of
// the page (node), the choice of a moment with what is sold (timers).

import { confirmed } from "../dialog.js";
import { el, say } from "../dom.js";
import { count, named, translator } from "../i18n.js";
import { timerText } from "./onair.js";
import { button, field, form, replaceIfNew } from "./panel.js";
import { t } from "./words.js";

const w = translator({
  toScheduled: ["Schedule", "排期"],
  toLive: ["Open the sale", "开始销售"],
  toEnded: ["End the sale…", "结束销售…"],
  shop: ["Shop page", "商店页面"],
  endTitle: ["End this stream's sale?", "确定结束本场销售？"],
  endText: [
    "Nobody can place new orders after this, and it cannot be opened again. Orders already placed can still be paid.",
    "结束后无法再下新单，也不能重新开启。已下的订单仍可付款。",
  ],
  endYes: ["End it", "确定结束"],
  keep: ["Keep selling", "继续销售"],
  opens: ["Open the sale in", "多久后开始销售"],
  closes: ["End the sale in", "多久后结束销售"],
  own: ["Seconds, {min} to {max}", "秒数（{min}–{max}）"],
  start: ["Start", "开始"],
  off: ["Call it off", "取消倒计时"],
  called: ["The timer is off.", "倒计时已取消。"],
  set: ["The countdown runs.", "倒计时已开始。"],
  bad: ["A whole number from {min} to {max}.", "请输入 {min} 到 {max} 的整数。"],
});
const NEXT = { draft: "scheduled", scheduled: "live", live: "ended" };
const TIMERS = {
  scheduled: { what: "opens", min: 10, max: 300, taps: [10, 30, 60, 120, 300] },
  live: { what: "closes", min: 60, max: 1200, taps: [60, 180, 300, 600, 1200] },
};

export class LifePanel {
  constructor(desk) {
    this.desk = desk;
    const { stream } = desk;
    this.state = el("span", { class: "badge", id: "state", role: "status" });
    this.next = button("next", "", () => this.advance(), { kind: "", id: "next" });
    this.countdown = el("b", { class: "num", id: "timer", role: "timer" });
    this.off = button("timer-off", w("off"), (node) => this.callOff(node));
    this.running = el("p", { class: "running", hidden: true }, this.countdown, this.off);
    const shop = el("a", { href: `/shop/${encodeURIComponent(stream.id)}`, target: "_blank", rel: "noopener" }, w("shop"));
    this.title = el("h1", {}, named(stream, "title"));
    this.node = el(
      "section",
      { class: "card", id: "life" },
      el("div", { class: "spread" }, this.state, this.title, el("div", { class: "doing" }, shop, this.next)),
      this.running,
    );
    this.timers = el("section", { class: "card", id: "timers" });
    this.see(stream.state);
  }

  take(part, state) {
    if (part === "status") {
      this.see(state.state);
      say(this.title, named(state, "title"));
    }
    if (part === "board") {
      this.timer = state.timer;
      this.tick();
    }
  }

  tick() {
    this.running.hidden = !this.timer;
    if (this.timer) say(this.countdown, timerText(this.timer));
  }

  see(state) {
    this.desk.stream.state = state;
    say(this.state, t(state));
    this.state.classList.toggle("live", state === "live");
    const next = NEXT[state];
    this.next.hidden = !next;
    if (next) say(this.next.firstChild, w(`to${next[0].toUpperCase()}${next.slice(1)}`));
    this.next.classList.toggle("danger", next === "ended");
    this.timers.hidden = !TIMERS[state];
    replaceIfNew(this.timers, state, () => this.timerChoice(TIMERS[state]));
  }

  timerChoice(timer) {
    if (!timer) return [];
    const { what, min, max, taps } = timer;
    const text = (s) => (s < 120 ? t("seconds", { n: count(s) }) : t("minutes", { n: count(s / 60) }));
    const chips = taps.map((s) => button(`${what}-${s}`, text(s), (node) => this.start(node, what, s), { kind: "chip" }));
    const own = field(w("own", { min, max }), { type: "number", min, max, step: 1, inputmode: "numeric", id: "timer-own" });
    const go = el("button", { type: "submit", class: "quiet", "data-do": `${what}-own` }, w("start"));
    const send = () => {
      const s = Number(own.input.value);
      if (Number.isInteger(s) && s >= min && s <= max) return this.start(go, what, s);
      own.input.focus();
      return this.desk.say(go, w("bad", { min, max }), true);
    };
    return [
      el("h2", {}, w(what)),
      el("div", { class: "chips", role: "group", "aria-label": w(what) }, ...chips),
      form(send, own.node, go),
    ];
  }

  start(node, what, seconds) {
    return this.desk.act(node, () => this.desk.api("PUT", this.desk.path("/timer"), { what, in_s: seconds }), () => w("set"));
  }

  callOff(node) {
    return this.desk.act(node, () => this.desk.api("DELETE", this.desk.path("/timer")), () => w("called"));
  }

  async advance() {
    const next = NEXT[this.desk.stream.state];
    if (next === "ended") {
      const words = { title: w("endTitle"), text: w("endText"), yes: w("endYes"), no: w("keep") };
      if (!(await confirmed(words))) return;
    }
    await this.desk.act(this.next, async () => {
      const stream = await this.desk.api("POST", this.desk.path("/state"), { state: next });
      this.see(stream.state ?? next);
    });
  }
}
