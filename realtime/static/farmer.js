// The farmer's page, for a cheap phone in a noisy yard: big numbers, alive by themselves, and honest about their age
// when the connection is gone. The last state is kept, so that there is something to see without one.

import { Refusal, call, serverNow, untilKnown } from "./api.js";
import { el, find, say } from "./dom.js";
import { count, timeOfDay, translator } from "./i18n.js";
import { keyForm } from "./keyform.js";
import { Live } from "./live.js";
import { recallJson, remember } from "./memory.js";
import { money } from "./money.js";
import { frame, show } from "./page.js";

const t = translator({
  title: ["My sales", "我的销售"],
  units: ["units sold", "已售件数"],
  income: ["income so far", "目前收入"],
  last: ["Last orders", "最近订单"],
  none: ["No orders yet. They appear here by themselves.", "暂无订单，有新订单会自动显示。"],
  refund: ["Refund", "退款"],
  dispute: ["Taken back by a bank", "银行撤回付款"],
  again: ["Paid again after all", "重新入账"],
  fee: ["Payment fee", "支付手续费"],
  live: ["Live", "实时更新"],
  old: ["No connection. This is how it stood {age} ago.", "网络中断。以下为{age}前的数据。"],
  seconds: ["{n} s", "{n} 秒"],
  minutes: ["{n} min", "{n} 分钟"],
  hours: ["{n} h", "{n} 小时"],
  loading: ["Loading…", "加载中…"],
});

const parts = {};
const view = { shown: null, live: null };

function ageText(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return t("seconds", { n: count(seconds) });
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? t("minutes", { n: count(minutes) }) : t("hours", { n: count(Math.round(minutes / 60)) });
}

// By the kind of the ledger's posting; a sale needs no word, and a fee concerns no product.
const WORDS = { refund: "refund", dispute: "dispute", refund_failed: "again", reinstate: "again", stripe_fee: "fee" };

function orderRow(line, currency) {
  const word = WORDS[line.kind] && t(WORDS[line.kind]);
  const goods = line.sku && `${line.sku} × ${count(line.quantity)}`;
  return el(
    "li",
    {},
    el("span", {}, [word, goods].filter(Boolean).join(": ")),
    el("b", { class: "num" }, money(line.amount_minor, currency)),
    el("span", { class: "soft small num" }, `${line.order} · ${timeOfDay(line.at)}`),
  );
}

function paint({ state }) {
  say(parts.units, count(state.units));
  // Before the first sale there is no currency yet, and nothing is nothing in any.
  say(parts.income, state.currency ? money(state.income_minor, state.currency) : count(0));
  const rows = state.last.map((line) => orderRow(line, state.currency));
  parts.last.replaceChildren(...(rows.length ? rows : [el("li", { class: "soft" }, t("none"))]));
}

function paintAge() {
  if (!view.shown) return;
  const live = view.live?.link === "live";
  parts.age.classList.toggle("old", !live);
  say(parts.age, live ? `● ${t("live")}` : t("old", { age: ageText(serverNow() - view.shown.seen) }));
}

function take(key, frame) {
  view.shown = { state: frame.state, seen: serverNow() };
  remember(key, JSON.stringify(view.shown));
  paint(view.shown);
  paintAge();
}

function layout() {
  parts.units = el("b", { id: "units" }, "—");
  parts.income = el("b", { id: "income", class: "income" }, "—");
  parts.last = el("ul", { class: "orders", id: "last" });
  parts.age = el("p", { class: "age" }, t("loading"));
  show(
    el("h1", {}, t("title")),
    parts.age,
    el(
      "section",
      { class: "card big" },
      el("p", {}, parts.units, t("units")),
      el("p", {}, parts.income, t("income")),
    ),
    el("section", { class: "card" }, el("h2", {}, t("last")), parts.last),
  );
}

async function open(key) {
  layout();
  let me = null;
  try {
    me = await untilKnown(() => call("GET", "/me", { token: key }));
  } catch (error) {
    if (error instanceof Refusal) return ask(true);
    throw error;
  }
  if (!me.farmer_id) return ask(true);
  const kept = `se.farmer.${me.farmer_id}`;
  view.shown = recallJson(kept);
  if (view.shown) paint(view.shown);
  const topic = `farmer/${me.farmer_id}/sales`;
  const onFrame = (frame) => take(kept, frame);
  const beat = () => {
    if (view.live.link === "live" && view.shown) view.shown.seen = serverNow();
    paintAge();
  };
  view.live = new Live({ topics: [topic], token: () => key, onFrame, onLink: paintAge }).start();
  setInterval(beat, 1000);
  // Before the first sale a farmer's topic may have no frame yet: the summary says the same.
  try {
    const summary = await untilKnown(() => call("GET", `/farmers/${me.farmer_id}/summary`, { token: key }));
    if (!view.shown || !view.live.known.size) take(kept, { state: summary });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}

function ask(refused) {
  show(keyForm((key) => (location.hash = encodeURIComponent(key)), refused));
}

document.title = t("title");
frame();
addEventListener("hashchange", () => location.reload());
const key = decodeURIComponent(location.hash.slice(1));
if (key) open(key);
else ask(false);
find("main").setAttribute("aria-live", "off");
