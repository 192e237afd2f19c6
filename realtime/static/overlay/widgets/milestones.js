// The ladder of promises: what was reached, what comes next, and exactly what is missing ("37 bags to go").

import { el, say } from "../../dom.js";
import { count, named, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { choice, flag, whole } from "../parameters.js";
import { bar, fillBar, partBp } from "../pieces.js";
import { unitsOf } from "../units.js";

const t = translator({
  next: ["Next on the way", "下一个里程碑"],
  all: ["Everything unlocked!", "全部达成！"],
  toGo: ["{what} to go", "还差 {what}"],
  units: ["{n} {unit}", "{n} {unit}"],
  reached: ["unlocked", "已达成"],
});

// What units are called where every offer calls them the same.
function commonCard(states) {
  const cards = states.board?.cards ?? [];
  return cards.length && cards.every((card) => card.unit === cards[0].unit) ? cards[0] : null;
}

function gapText(step, states) {
  const { missing } = step;
  if (step.counts === "money") return t("toGo", { what: money(missing, states.milestones.currency, { round: true }) });
  return t("toGo", { what: t("units", { n: count(missing), unit: unitsOf(commonCard(states), missing) }) });
}

// The steps to show: the one that comes next and those after it, and before it what was reached last.
function shownOf(items, { max, hide_done: hideDone, unit }) {
  const asked = items.filter((step) => unit === "all" || step.counts === unit);
  const done = asked.filter((step) => step.reached);
  const open = asked.filter((step) => !step.reached);
  const before = hideDone && open.length ? 0 : Math.max(max - open.length, Math.min(1, max - 1), open.length ? 0 : max);
  const kept = done.slice(Math.max(done.length - before, 0));
  return [...kept, ...open].slice(0, max);
}

function rowOf(list, step) {
  const found = [...list.children].find((row) => row.dataset.step === step.id);
  if (found) return found;
  const texts = [el("span", { class: "title" }), el("span", { class: "gap" })];
  return el("li", { "data-step": step.id }, el("i", { class: "rung" }), ...texts, bar());
}

export default {
  parts: ["milestones", "board"],
  at: "right",
  options: { max: whole(3, 1, 8), hide_done: flag(), unit: choice("all", "money", "units") },
  ready: ({ milestones }, { params }) => Boolean(milestones) && shownOf(milestones.items, params).length > 0,

  make() {
    return el("section", { class: "milestones" }, el("h2"), el("ul", { class: "steps" }));
  },

  paint(node, states, ctx) {
    const shown = shownOf(states.milestones.items, ctx.params);
    const next = shown.find((step) => !step.reached);
    say(node.querySelector("h2"), t(next ? "next" : "all"));
    const list = node.querySelector(".steps");
    const rows = shown.map((step) => rowOf(list, step));
    if (rows.length !== list.children.length || rows.some((row, at) => list.children[at] !== row)) list.replaceChildren(...rows);
    shown.forEach((step, at) => {
      const row = rows[at];
      row.classList.toggle("reached", step.reached);
      row.classList.toggle("next", step === next);
      say(row.querySelector(".title"), named(step, "title"));
      say(row.querySelector(".gap"), step.reached ? t("reached") : ctx.dashed() ? "—" : gapText(step, states));
      fillBar(row.querySelector(".bar"), partBp(step.threshold - step.missing, step.threshold));
    });
  },
};
