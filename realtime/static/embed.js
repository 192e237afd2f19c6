// The card other sites show in a frame. It needs no key, no cookie and no storage, and shows the newest states alone.

import { connect } from "./client/stream-events.js";
import { find, say } from "./dom.js";
import { count, named, translator } from "./i18n.js";
import { money } from "./money.js";

const t = translator({
  raised: ["Raised so far", "已筹善款"],
  goal: ["{percent}% of {goal}", "已达目标 {goal} 的 {percent}%"],
  orders: ["{orders} orders", "{orders} 单"],
  order: ["{orders} order", "{orders} 单"],
  left: ["{left} left", "还剩 {left} 件"],
  gone: ["Sold out", "已售罄"],
  buy: ["Open the shop", "打开商店"],
  scheduled: ["SOON", "即将开始"],
  live: ["LIVE", "直播中"],
  ended: ["ENDED", "已结束"],
  test: ["TEST MONEY", "测试资金"],
  stale: ["Not live: figures of {seconds} s ago", "连接中断：{seconds} 秒前的数据"],
  missing: ["There is no such sale here.", "没有这场直播。"],
});

const PARTS = ["tally", "stock", "status"];
const options = new URLSearchParams(location.search);
const streamId = location.pathname.split("/").pop();
const states = {};
let missing = false;

function paintTally({ raised_minor: raised, goal_minor: goal, currency, orders }) {
  say(find("raised"), money(raised, currency));
  // Rounded down: the bar is not full before the goal is reached.
  const percent = goal > 0 ? Number((BigInt(Math.max(raised, 0)) * 100n) / BigInt(goal)) : 0;
  const shown = Math.min(percent, 100);
  find("bar").hidden = goal <= 0;
  find("bar").setAttribute("aria-valuenow", String(shown));
  find("bar").setAttribute("aria-label", t("raised"));
  find("fill").style.setProperty("--part", `${shown}%`);
  const told = t(orders === 1 ? "order" : "orders", { orders: count(orders) });
  const whole = { percent: count(percent), goal: money(goal, currency, { round: true }) };
  say(find("goal"), goal > 0 ? `${t("goal", whole)} · ${told}` : told);
}

function paintStock({ items, sold_out_at: soldOutAt }) {
  const alone = items.length === 1 ? items[0] : null;
  say(find("left"), soldOutAt ? t("gone") : alone ? t("left", { left: count(alone.left) }) : "");
}

function paintStatus(status) {
  const life = status.state === "settled" ? "ended" : status.state;
  say(find("title"), named(status, "title"));
  find("state").hidden = false;
  say(find("state"), t(life));
  document.title = named(status, "title");
}

function paint() {
  if (states.tally) paintTally(states.tally);
  if (states.stock) paintStock(states.stock);
  if (states.status) paintStatus(states.status);
}

function paintLink() {
  const old = feed.link === "stale" || (feed.link !== "live" && feed.heardAt !== null);
  find("card").dataset.link = old ? "stale" : feed.link;
  const seconds = old ? Math.round((performance.now() - feed.heardAt) / 1000) : 0;
  const note = seconds >= 10 ? t("stale", { seconds: count(seconds) }) : missing && !states.status ? t("missing") : "";
  say(find("note"), note);
}

async function paintMode() {
  try {
    const { mode } = await (await fetch("/v1/meta", { credentials: "omit" })).json();
    find("test").hidden = mode !== "sandbox";
  } catch {
    // Not known yet is not "real money": the mark is asked for again.
    setTimeout(paintMode, 5000 + Math.random() * 5000);
  }
}

if (["light", "dark"].includes(options.get("theme"))) document.documentElement.dataset.theme = options.get("theme");
say(find("label"), t("raised"));
say(find("test"), t("test"));
say(find("shop"), t("buy"));
find("shop").href = `/shop/${streamId}`;
const transport = ["ws", "sse", "poll"].includes(options.get("transport")) ? options.get("transport") : "auto";
const feed = connect({
  origin: location.origin,
  topics: PARTS.map((part) => `stream/${streamId}/${part}`),
  transport,
});
feed.onFrame(({ topic, state }) => {
  states[topic.split("/")[2]] = state;
  paint();
});
// The feed tells of any name it is asked for; a sale that was announced has a status.
feed.onSnapshot(() => {
  missing = !states.status;
  paintLink();
});
feed.onLink(() => queueMicrotask(paintLink));
setInterval(paintLink, 1000);
paintMode();
