// The minutes before the sale opens or closes, by the server's clock. The last ten seconds fill the card. When the time
// is up it says so for a moment and goes.

import { el, say } from "../../dom.js";
import { clock, translator } from "../../i18n.js";
import { choice, seconds } from "../parameters.js";

const t = translator({
  opens: ["The sale opens in", "距开售还有"],
  closes: ["The sale closes in", "距结束还有"],
  opened: ["The sale is open!", "现在开售！"],
  closed: ["The sale is closed", "本场已结束"],
  at: ["at {time}", "{time}"],
});

const LAST_S = 10;
const AFTERWARDS_MS = 6_000;

// What is counted down to: what the host put up, or the opening that is in the stream's schedule.
function targetOf({ board, status }, { target }) {
  const timer = board?.timer ?? null;
  const wanted = { open: "opens", close: "closes" }[target];
  if (timer && (!wanted || timer.what === wanted)) return timer;
  const scheduled = status?.state === "scheduled" && status.opens_at;
  return scheduled && target !== "close" ? { what: "opens", at: status.opens_at } : null;
}

// The target of now, or for a moment the one that has just passed.
function current(states, ctx) {
  const target = targetOf(states, ctx.params) ?? ctx.passing ?? null;
  if (!target) return null;
  const leftMs = Date.parse(target.at) - ctx.now();
  const soon = ctx.params.pre === 0 || leftMs <= ctx.params.pre * 1000;
  ctx.passing = leftMs <= 1_000 ? target : null;
  return soon && leftMs > -AFTERWARDS_MS ? { ...target, leftMs } : null;
}

function timeOf(at, tz) {
  const parts = { hour: "2-digit", minute: "2-digit", hour12: false, ...(tz ? { timeZone: tz, timeZoneName: "short" } : {}) };
  return new Intl.DateTimeFormat(document.documentElement.lang, parts).format(new Date(at));
}

export default {
  parts: ["board", "status"],
  at: "top",
  options: { target: choice("auto", "open", "close"), pre: seconds(0, 10, 86_400) },
  ready(states, ctx) {
    // It appears by itself when its time comes: nothing is sent at that moment.
    if (targetOf(states, ctx.params)) ctx.again(1_000);
    return current(states, ctx) !== null;
  },
  idle: (states, ctx) => (current(states, ctx)?.leftMs ?? Infinity) > 60_000,

  make() {
    const texts = [el("h2"), el("p", { class: "clock", role: "timer" }), el("p", { class: "sub" })];
    return el("section", { class: "countdown" }, ...texts);
  },

  paint(node, states, ctx) {
    const { what, at, leftMs } = current(states, ctx);
    const leftS = Math.ceil(leftMs / 1000);
    const over = leftS <= 0;
    const stage = over ? "over" : leftS <= LAST_S ? "last" : leftS <= 60 ? "soon" : "early";
    if (node.dataset.stage !== stage) node.dataset.stage = stage;
    node.dataset.what = what;
    say(node.querySelector("h2"), over ? "" : t(what));
    say(node.querySelector(".clock"), over ? t(what === "opens" ? "opened" : "closed") : stage === "last" ? String(leftS) : clock(leftS));
    say(node.querySelector(".sub"), stage === "early" ? t("at", { time: timeOf(at, ctx.params.tz) }) : "");
    // The next change is at the next full second of the server.
    ctx.again(over ? AFTERWARDS_MS + leftMs + 20 : (leftMs % 1000) + 15);
  },
};
