// Everything in one source, for hosts who want one address: a lower third on a landscape stage, and on a phone's one
// card under the top bar and one above the comments. Each part is the widget of its name.

import { el, say } from "../../dom.js";
import { named } from "../../i18n.js";
import { readParameters } from "../parameters.js";
import { t } from "../words.js";
import countdown from "./countdown.js";
import goal from "./goal.js";
import milestones from "./milestones.js";
import product from "./product.js";
import stock from "./stock.js";
import tally from "./tally.js";

const PARTS = { tally, goal, milestones, countdown, product, stock };
const OWN = { countdown: "pre=300", milestones: "max=1&hide_done=1" };

const made = new WeakMap();

function header() {
  return el("header", {}, el("span", { class: "live", id: "live", hidden: true }), el("span", { class: "title", id: "title" }));
}

function paintHeader(node, { status }) {
  const over = status?.state === "ended" || status?.state === "settled";
  const live = node.querySelector(".live");
  live.hidden = !(over || status?.state === "live");
  live.classList.toggle("ended", over);
  say(live, t(over ? "ended" : "live"));
  say(node.querySelector(".title"), status ? named(status, "title") : "");
}

// A part sees the page's context, with its own parameters at what suits it here.
function partContext(ctx, name) {
  const { options } = PARTS[name];
  const { values } = readParameters(OWN[name] ?? "", options);
  const params = { ...ctx.params };
  for (const key of Object.keys(options)) params[key] = values[key];
  return Object.create(ctx, { params: { value: params } });
}

export default {
  parts: ["tally", "stock", "status", "board", "milestones"],
  bare: true,
  styled: true,
  ready: ({ tally: known }) => Boolean(known),
  idle: (states, ctx) => !states.board?.timer || Date.parse(states.board.timer.at) - ctx.now() > 60_000,

  make(ctx) {
    const parts = {};
    for (const [name, widget] of Object.entries(PARTS)) {
      const context = partContext(ctx, name);
      parts[name] = { widget, context, node: widget.make(context) };
    }
    const column = (name, ...names) => el("div", { class: `column ${name}` }, ...names.map((one) => parts[one].node));
    const upper = el("div", { class: "plate upper" }, header(), column("sums", "tally"), column("way", "goal", "milestones", "countdown"));
    const lower = el("div", { class: "plate lower" }, column("goods", "product", "stock"));
    const node = el("div", { class: "all" }, upper, lower);
    made.set(node, parts);
    return node;
  },

  paint(node, states, ctx) {
    const parts = made.get(node);
    const ready = {};
    for (const [name, { widget, context }] of Object.entries(parts)) {
      ready[name] = widget.ready ? widget.ready(states, context) : true;
    }
    // While the clock runs it is what people look at, and a pinned product stands for the whole stall.
    if (ready.countdown) Object.assign(ready, { goal: false, milestones: false });
    if (ready.product) ready.stock = false;
    for (const [name, { widget, context, node: part }] of Object.entries(parts)) {
      if (part.hidden === ready[name]) part.hidden = !ready[name];
      if (ready[name]) widget.paint(part, states, context);
    }
    const way = ready.goal || ready.milestones || ready.countdown;
    node.querySelector(".way").hidden = !way;
    node.querySelector(".lower").hidden = !(ready.product || ready.stock);
    paintHeader(node.querySelector("header"), states);
  },
};
