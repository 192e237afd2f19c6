// Who gave most, among those who agreed to be named: in the last hour, today, or over the whole stream. When somebody
// overtakes somebody, the rows change places in the open.

import { el, say } from "../../dom.js";
import { count, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { choice, whole } from "../parameters.js";

const t = translator({
  hour: ["Top givers · last hour", "爱心榜 · 近一小时"],
  today: ["Top givers · today", "爱心榜 · 今日"],
  stream: ["Top givers", "爱心榜"],
  empty: ["The first place is free", "虚位以待"],
  emptyText: ["Put your name here", "第一名等你来"],
  orders: ["{n} orders", "{n} 单"],
});

const WINDOW = { "1h": "hour", today: "today", stream: "stream" };
const MOVE_MS = 550;

function makeRow() {
  const parts = { rank: el("span", { class: "rank num" }), name: el("bdi", { class: "name" }), amount: el("b", { class: "amount num" }), fill: el("i") };
  const node = el("li", {}, parts.rank, parts.name, parts.amount, el("div", { class: "part" }, parts.fill));
  return { node, parts };
}

class Board {
  constructor(ctx) {
    this.ctx = ctx;
    this.title = el("h2", {}, t(WINDOW[ctx.params.window]));
    this.list = el("ol", {});
    this.empty = el("div", { class: "none", hidden: true }, el("p", { class: "name" }, t("empty")), el("p", {}, t("emptyText")));
    this.node = el("section", { class: "leaderboard" }, this.title, this.list, this.empty);
    this.rows = new Map();
  }

  // Two people may go by one name; they are told apart by which of them comes first.
  keyed(leaders) {
    const seen = new Map();
    return leaders.map((leader) => {
      const nth = (seen.get(leader.name) ?? 0) + 1;
      seen.set(leader.name, nth);
      return { key: `${nth}\n${leader.name}`, leader };
    });
  }

  take(state) {
    const { params } = this.ctx;
    const leaders = this.keyed(state[WINDOW[params.window]].slice(0, params.n));
    this.empty.hidden = leaders.length > 0;
    const from = new Map([...this.rows].map(([key, row]) => [key, row.node.offsetTop]));
    const kept = new Set(leaders.map(({ key }) => key));
    for (const [key, row] of this.rows) if (!kept.has(key)) this.drop(key, row);
    const most = leaders[0]?.leader.amount_minor ?? 0;
    leaders.forEach(({ key, leader }, place) => this.put(key, leader, place, most, state.currency));
    if (document.documentElement.dataset.anim === "on") this.move(from);
  }

  drop(key, row) {
    this.rows.delete(key);
    row.node.remove();
  }

  put(key, leader, place, most, currency) {
    const row = this.rows.get(key) ?? makeRow();
    this.rows.set(key, row);
    if (this.list.children[place] !== row.node) this.list.insertBefore(row.node, this.list.children[place] ?? null);
    row.node.dataset.place = String(place + 1);
    say(row.parts.rank, count(place + 1));
    say(row.parts.name, leader.name);
    say(row.parts.amount, this.ctx.dashed() ? "—" : money(leader.amount_minor, currency, { round: true }));
    // Tenths of a percent by whole numbers; the longest bar is the first one's.
    const part = most > 0 ? Number((BigInt(Math.max(leader.amount_minor, 0)) * 1000n) / BigInt(most)) / 10 : 0;
    row.parts.fill.style.setProperty("--part", String(part / 100));
  }

  move(from) {
    for (const [key, { node }] of this.rows) {
      const by = from.has(key) ? from.get(key) - node.offsetTop : null;
      if (by === 0) continue;
      const start = by === null ? { opacity: 0, transform: "translateX(-1.5rem)" } : { transform: `translateY(${by}px)` };
      node.animate([start, { opacity: 1, transform: "none" }], { duration: MOVE_MS, easing: "cubic-bezier(0.2, 0.8, 0.25, 1)" });
    }
  }
}

const boards = new WeakMap();

export default {
  parts: ["leaders"],
  at: "top-right",
  options: {
    window: choice("stream", "today", "1h"),
    n: whole(5, 1, 10),
  },
  make(ctx) {
    const board = new Board(ctx);
    boards.set(board.node, board);
    return board.node;
  },
  paint(node, { leaders }) {
    boards.get(node).take(leaders);
  },
};
