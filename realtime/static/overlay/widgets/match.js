// A sponsor's match: what a gift is worth while it runs, what is left of the sponsor's pot, and until when. It shows
// the match that is drawn from now; with none on, the one that comes next, or the thanks for the one that is used up.

import { el, say } from "../../dom.js";
import { clock, named, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { flag } from "../parameters.js";
import { bar, fillBar, partBp } from "../pieces.js";

const t = translator({
  gifts: ["every gift is matched", "每笔捐赠均获配捐"],
  shares: ["the charity's share is matched", "公益份额获配捐"],
  all: ["everything you give is matched", "每一份爱心均获配捐"],
  by: ["by {sponsor}", "配捐方：{sponsor}"],
  left: ["left in the pot", "配捐池剩余"],
  of: ["of {pot}", "共 {pot}"],
  until: ["ends in {clock}", "{clock} 后结束"],
  begins: ["begins in {clock}", "{clock} 后开始"],
  used: ["The pot is used up — thank you!", "配捐池已用完，感谢！"],
  over: ["The match is over — thank you!", "配捐已结束，感谢！"],
  next: ["Next match", "下一场配捐"],
});

const DOUBLE_BP = 10_000;
const DAY_S = 86_400;

// 10,000 bp double, 5,000 make it one and a half. Hundredths, with no zero at the end.
function timesText(ratioBp) {
  const hundredths = 100 + Math.floor((ratioBp * 100) / DOUBLE_BP);
  const rest = String(hundredths % 100).padStart(2, "0").replace(/0+$/, "");
  return `×${Math.floor(hundredths / 100)}${rest ? `.${rest}` : ""}`;
}

function stageOf(pot, now) {
  if (pot.on && pot.left_minor > 0) return "on";
  if (Date.parse(pot.starts_at) > now) return "next";
  return pot.left_minor <= 0 ? "used" : "over";
}

// The first that is on; else the next to begin; else the last one that was.
function chosen(items, now) {
  const by = (stage) => items.filter((pot) => stageOf(pot, now) === stage);
  const soonest = by("next").sort((a, b) => Date.parse(a.starts_at) - Date.parse(b.starts_at));
  return by("on")[0] ?? soonest[0] ?? by("used").pop() ?? by("over").pop() ?? null;
}

class Match {
  constructor(ctx) {
    this.ctx = ctx;
    this.times = el("b", { class: "times num" });
    this.what = el("p", { class: "what" });
    this.sponsor = el("p", { class: "sponsor" });
    this.left = el("b", { class: "num" });
    this.of = el("span", { class: "num" });
    this.bar = bar({ "aria-label": t("left") });
    this.until = el("p", { class: "until num" });
    const words = el("div", { class: "words" }, this.what, this.sponsor);
    this.pot = el("div", { class: "pot" }, el("p", {}, this.left, " ", el("span", {}, t("left")), " ", this.of), this.bar);
    this.node = el("section", { class: "match" }, this.times, words, this.pot, this.until);
  }

  take({ items, currency }) {
    const now = this.ctx.now();
    const pot = chosen(items, now);
    if (!pot) return;
    const stage = stageOf(pot, now);
    this.node.dataset.stage = stage;
    this.node.dataset.match = pot.id;
    say(this.times, timesText(pot.ratio_bp));
    say(this.what, { on: t(pot.covers), next: t("next"), used: t("used"), over: t("over") }[stage]);
    const sponsor = this.ctx.params.sponsor ? named(pot, "sponsor") : "";
    this.sponsor.hidden = !sponsor;
    say(this.sponsor, sponsor ? t("by", { sponsor }) : "");
    say(this.left, this.ctx.dashed() ? "—" : money(Math.max(pot.left_minor, 0), currency, { round: true }));
    say(this.of, t("of", { pot: money(pot.pot_minor, currency, { round: true }) }));
    fillBar(this.bar, partBp(pot.left_minor, pot.pot_minor));
    this.pot.hidden = stage === "over";
    this.sayUntil(pot, stage, now);
  }

  sayUntil(pot, stage, now) {
    const at = { on: pot.ends_at, next: pot.starts_at }[stage];
    const leftS = at ? (Date.parse(at) - now) / 1000 : 0;
    this.until.hidden = !(leftS > 0 && leftS < DAY_S);
    say(this.until, t(stage === "on" ? "until" : "begins", { clock: clock(leftS) }));
    this.until.classList.toggle("soon", stage === "on" && leftS <= 60);
  }
}

const matches = new WeakMap();

export default {
  parts: ["matches"],
  options: { sponsor: flag(true) },
  ready: (states) => Boolean(states.matches?.items.length),
  make(ctx) {
    const match = new Match(ctx);
    matches.set(match.node, match);
    return match.node;
  },
  paint(node, states) {
    matches.get(node).take(states.matches);
  },
};
