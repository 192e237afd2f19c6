// What the audience sees at this moment, each thing with its age, from the same frames as the overlay. Two ages are
// not the same: a figure may be old because nobody bought, and it may be old because nothing arrives any more.

import { serverNow } from "../api.js";
import { el, say } from "../dom.js";
import { apart, clock, count, named, translator } from "../i18n.js";
import { money } from "../money.js";
import { card, figure } from "./panel.js";
import { ageText, t } from "./words.js";

const w = translator({
  screen: ["On screen right now", "当前屏幕显示"],
  ageFresh: ["changed {age} ago · connection alive", "{age}前更新 · 连接正常"],
  ageOld: ["connection lost · {age} old", "连接中断 · {age}前"],
  ageStill: ["the books are not being read · {age} old", "账本未在读取 · {age}前"],
  ageNone: ["nothing on screen yet", "屏幕暂无数据"],
  raised: ["Raised", "已筹善款"],
  tonight: ["Tonight", "今晚"],
  sales: ["Sales", "销售额"],
  orders: ["Paid orders", "已付款订单"],
  units: ["Units sold", "已售件数"],
  goalPart: ["Of the goal", "目标进度"],
  version: ["Frame", "帧"],
  seq: ["Ledger number", "账本编号"],
  lag: ["Payment to screen", "付款到上屏"],
  milliseconds: ["{n} ms", "{n} 毫秒"],
  alert: ["Alert", "提醒"],
  noAlert: ["none", "无"],
  test: ["TEST", "测试"],
  someone: ["somebody", "匿名"],
  burst: ["×{n} in {s} s", "{s} 秒内 ×{n}"],
  panic: ["PANIC: nothing but totals is shown", "紧急隐藏：仅显示总额"],
  pinned: ["Pinned product", "置顶商品"],
  noPinned: ["none", "无"],
  timer: ["Timer", "倒计时"],
  noTimer: ["none", "无"],
  opens: ["opens in {time}", "{time} 后开始"],
  closes: ["closes in {time}", "{time} 后结束"],
});

const LOOKED_MS_MAX = 10_000;
const LAG_SAMPLE_MS_MAX = 60_000;

// An alert in one line of text, also for the alert panel; cards are the offers that know a product's name.
export function alertText(alert, cards = []) {
  const parts = [
    alert.kind === "test" ? w("test") : null,
    alert.name ? apart(alert.name) : alert.kind === "burst" ? null : w("someone"),
    alert.kind === "burst" ? w("burst", { n: count(alert.count), s: count(alert.within_s) }) : null,
    money(alert.amount_minor, alert.currency),
    alert.sku && apart(nameIn(cards, alert.sku)),
    alert.message ? `“${apart(alert.message)}”` : null,
  ];
  return parts.filter(Boolean).join(" · ");
}

function nameIn(cards, sku) {
  return named(cards.find((one) => one.sku === sku) ?? { name: sku });
}

export function timerText(timer) {
  const left = clock((Date.parse(timer.at) - serverNow()) / 1000);
  return w(timer.what, { time: left });
}

export class OnAirPanel {
  constructor() {
    this.frames = new Map();
    this.lookedAgeMs = undefined;
    this.countedInMs = null;
    this.arrivedInMs = null;
    this.figures = {};
    for (const name of ["raised", "goalPart", "tonight", "sales", "orders", "units", "version", "seq", "lag"]) {
      this.figures[name] = figure(w(name), `screen-${name}`);
    }
    this.age = el("span", { class: "age", id: "age" });
    this.rows = {};
    const rows = ["alert", "pinned", "timer"].map((name) => {
      const value = el("dd", { id: `screen-${name}` }, "—");
      const age = el("span", { class: "soft small num" });
      this.rows[name] = { value, age };
      return el("div", {}, el("dt", {}, w(name)), value, age);
    });
    const all = Object.values(this.figures).map((one) => one.node);
    const figures = el("dl", { class: "figures" }, ...all);
    this.node = card(w("screen"), { id: "on-screen", aside: this.age }, figures, el("dl", { class: "now" }, ...rows));
  }

  take(part, state, frame) {
    if (!["tally", "tonight", "board", "alerts/main"].includes(part)) return;
    this.frames.set(part, frame);
    if (part === "tally") this.takeTally(state, frame);
    if (part === "tonight") say(this.figures.tonight.value, money(state.raised_minor, state.currency));
    this.paintRows();
  }

  takeTally(state, frame) {
    const { raised_minor: raised, goal_minor: goal, sales_minor: sales, currency, orders, units, seq } = state;
    const { figures } = this;
    say(figures.raised.value, money(raised, currency));
    const percent = goal > 0 ? (BigInt(Math.max(raised, 0)) * 100n) / BigInt(goal) : null;
    say(figures.goalPart.value, percent === null ? "—" : `${count(percent)}%`);
    say(figures.sales.value, money(sales, currency));
    say(figures.orders.value, count(orders));
    say(figures.units.value, count(units));
    say(figures.version.value, `#${count(frame.version)}`);
    say(figures.seq.value, seq ? `#${count(seq)}` : "—");
    const tookMs = serverNow() - frame.at;
    // The first frame of a connection may be of long ago; it says nothing about how long one takes.
    if (tookMs < LAG_SAMPLE_MS_MAX && this.hadOne) this.arrivedInMs = Math.max(0, Math.round(tookMs));
    this.hadOne = true;
  }

  // The answer of GET …/screen.
  takeScreen(screen) {
    this.lookedAgeMs = screen.looked_age_ms;
    this.countedInMs = screen.counted_in_ms ?? null;
    const known = this.countedInMs !== null && this.arrivedInMs !== null;
    say(this.figures.lag.value, known ? w("milliseconds", { n: count(this.countedInMs + this.arrivedInMs) }) : "—");
  }

  paintRows() {
    const alerts = this.frames.get("alerts/main")?.state;
    const board = this.frames.get("board")?.state;
    const { alert, pinned, timer } = this.rows;
    const onAir = alerts?.on_air;
    if (alerts) say(alert.value, alerts.panic ? w("panic") : onAir ? alertText(onAir, board?.cards) : w("noAlert"));
    if (!board) return;
    say(pinned.value, board.pinned_sku ? nameIn(board.cards, board.pinned_sku) : w("noPinned"));
    say(timer.value, board.timer ? timerText(board.timer) : w("noTimer"));
  }

  // The line may be alive while nobody reads the books any more: then the numbers on screen stand still.
  booksAreRead() {
    return this.lookedAgeMs === undefined || (this.lookedAgeMs !== null && this.lookedAgeMs < LOOKED_MS_MAX);
  }

  tick(live) {
    const tally = this.frames.get("tally");
    const fresh = live.link === "live" && this.booksAreRead();
    this.age.className = `age ${fresh && tally ? "fresh" : "old"}`;
    if (!tally) say(this.age, w("ageNone"));
    else if (fresh) say(this.age, w("ageFresh", { age: ageText(serverNow() - tally.at) }));
    else if (live.link === "live") say(this.age, w("ageStill", { age: ageText(serverNow() - tally.at) }));
    else say(this.age, w("ageOld", { age: ageText(live.silenceMs() ?? 0) }));
    for (const [row, part] of Object.entries({ alert: "alerts/main", pinned: "board", timer: "board" })) {
      const frame = this.frames.get(part);
      if (frame) say(this.rows[row].age, t("ago", { age: ageText(serverNow() - frame.at) }));
    }
    this.paintRows();
  }
}
