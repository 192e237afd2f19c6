// How far it is to the goal: a bar, a ring, a thermometer or a line of text. Percents are rounded down, so that nothing
// says 100 % before the goal is reached.

import { el, say } from "../../dom.js";
import { count, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { choice, words } from "../parameters.js";
import { bar, fillBar, partBp } from "../pieces.js";

const t = translator({
  goal: ["Goal {goal}", "目标 {goal}"],
  toGo: ["{amount} to go", "还差 {amount}"],
  reached: ["Goal reached!", "目标达成！"],
  beyond: ["Goal reached · {amount} beyond", "目标达成 · 超出 {amount}"],
  line: ["{raised} of {goal}", "{raised} / {goal}"],
});

const FULL_BP = 10_000;

// Two half discs that turn behind two half windows: a ring that fills by transforms alone.
function ring() {
  const half = (side) => el("div", { class: `half ${side}` }, el("i"));
  const turning = el("div", { class: "turning" }, half("first"), half("second"));
  return el("div", { class: "ring" }, turning, el("p", { class: "percent", id: "percent" }));
}

function turnRing(node, bp) {
  const turn = Math.min(bp, FULL_BP) / FULL_BP;
  node.style.setProperty("--first", `${Math.min(turn, 0.5) * 360}deg`);
  node.style.setProperty("--second", `${Math.max(turn - 0.5, 0) * 360}deg`);
}

function body(style) {
  const percent = el("p", { class: "percent", id: "percent" });
  if (style === "ring") return [ring()];
  if (style === "thermo") return [bar({ class: "tube" }), percent];
  return style === "text" ? [percent] : [percent, bar()];
}

export default {
  parts: ({ scope }) => [scope === "campaign" ? "campaign" : "tally"],
  options: {
    style: choice("bar", "ring", "thermo", "text"),
    show: words(["pct", "left"], "pct", "left"),
    scope: choice("stream", "campaign"),
  },
  ready: ({ tally, campaign }, { params }) => (params.scope === "campaign" ? campaign : tally)?.goal_minor > 0,

  make({ params }) {
    const label = el("h2", { id: "goal-label" });
    const node = el("section", { class: "goal", "data-style": params.style }, ...body(params.style));
    node.append(el("div", { class: "words" }, label, el("p", { class: "sub", id: "to-go" })));
    return node;
  },

  paint(node, states, ctx) {
    const { style, show, scope } = ctx.params;
    const { raised_minor: raised, goal_minor: goal, currency } = states[scope === "campaign" ? "campaign" : "tally"];
    const dashed = ctx.dashed();
    const bp = partBp(raised, goal);
    const reached = raised >= goal;
    const text = (minor) => money(minor, currency, { round: true });
    say(
      node.querySelector("h2"),
      style === "text"
        ? t("line", { raised: dashed ? "—" : money(raised, currency), goal: text(goal) })
        : t("goal", { goal: text(goal) }),
    );
    const percent = node.querySelector(".percent");
    percent.hidden = !show.includes("pct");
    say(percent, dashed ? "—" : `${count(Math.floor(bp / 100))}%`);
    const over = raised > goal ? t("beyond", { amount: text(raised - goal) }) : t("reached");
    const gap = reached ? over : t("toGo", { amount: text(goal - raised) });
    say(node.querySelector(".sub"), dashed || !show.includes("left") ? "" : gap);
    node.classList.toggle("reached", reached);
    if (style === "ring") turnRing(node.querySelector(".ring"), bp);
    else if (style !== "text") fillBar(node.querySelector(".bar"), bp);
  },
};
