// The total, large: what was raised, sold, ordered or given, as the newest ledger number has it.

import { el, say } from "../../dom.js";
import { count, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { choice } from "../parameters.js";
import { Dip, figure, showFigure } from "../pieces.js";

const t = translator({
  raised: ["Raised so far", "已筹善款"],
  sales: ["Sold so far", "已售金额"],
  units: ["Units sold", "已售件数"],
  orders: ["Orders", "订单数"],
  gifts: ["Given without goods", "纯捐款"],
  matched: ["Matched by sponsors", "赞助配捐"],
  tonight: ["{what} · tonight", "{what} · 今晚"],
  campaign: ["{what} · whole campaign", "{what} · 整个活动"],
  sub: ["{units} sold · {orders} orders", "已售 {units} 件 · {orders} 单"],
  subOne: ["{units} sold · {orders} order", "已售 {units} 件 · {orders} 单"],
});

// What each metric is in a tally, and whether it is money.
const METRICS = {
  raised: ["raised_minor", true],
  sales: ["sales_minor", true],
  units: ["units", false],
  orders: ["orders", false],
  gifts: ["gifts_minor", true],
  matched: ["matched_minor", true],
};
const PARTS = { stream: "tally", campaign: "campaign", tonight: "tonight" };

export default {
  parts: ({ scope }) => [PARTS[scope]],
  options: { metric: choice(...Object.keys(METRICS)), scope: choice(...Object.keys(PARTS)) },

  make(ctx) {
    const { metric, scope } = ctx.params;
    const label = scope === "stream" ? t(metric) : t(scope, { what: t(metric) });
    const dip = new Dip(ctx);
    const node = el("section", { class: "tally" }, el("h2", {}, label), figure({ id: "raised" }), dip.node);
    node.append(el("p", { class: "sub", id: "sub" }));
    this.dip = dip;
    return node;
  },

  paint(node, states, ctx) {
    const state = states[PARTS[ctx.params.scope]];
    const [field, isMoney] = METRICS[ctx.params.metric];
    const shown = ctx.dashed() ? "—" : isMoney ? money(state[field], state.currency) : count(state[field]);
    showFigure(node.querySelector(".figure"), shown);
    if (isMoney) this.dip.see(state[field], state.currency);
    const both = { units: count(state.units), orders: count(state.orders) };
    const goods = ["raised", "sales"].includes(ctx.params.metric) && state.orders > 0 && !ctx.dashed();
    say(node.querySelector(".sub"), goods ? t(state.orders === 1 ? "subOne" : "sub", both) : "");
  },
};
