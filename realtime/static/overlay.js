// The host's overlay. It shows the absolute state of the newest frame of each topic and never adds anything up.
// It lives for a whole night inside OBS: it comes back by itself, keeps the last state, and says when it is old.

import { Refusal, call, untilKnown } from "./api.js";
import { showDigits } from "./digits.js";
import { el, find, say } from "./dom.js";
import { clock, count, named, translator } from "./i18n.js";
import { Live } from "./live.js";
import { money } from "./money.js";

const t = translator({
  raised: ["Raised so far", "已筹善款"],
  sub: ["{units} sold · {orders} orders", "已售 {units} 件 · {orders} 单"],
  subOne: ["{units} sold · {orders} order", "已售 {units} 件 · {orders} 单"],
  goal: ["Goal {goal}", "目标 {goal}"],
  corrected: ["corrected {amount}", "更正 {amount}"],
  toGo: ["{amount} to go", "还差 {amount}"],
  reached: ["Goal reached!", "目标达成！"],
  left: ["Still on the stall", "货架剩余"],
  of: ["/ {total}", "/ {total}"],
  soldOut: ["SOLD OUT", "已售罄"],
  soldOutIn: ["SOLD OUT IN {clock}", "{clock} 售罄"],
  held: ["all held", "已被预订"],
  live: ["LIVE", "直播中"],
  ended: ["ENDED", "已结束"],
  test: ["TEST MONEY", "测试资金"],
  stale: ["NOT LIVE · {seconds} s old", "连接中断 · {seconds} 秒前"],
  connecting: ["Overlay: connecting…", "叠加层：正在连接…"],
  noKey: [
    "Overlay: the key is missing. Copy the whole address from your console, with the part after #.",
    "叠加层：缺少密钥。请从控制台复制完整网址（包括 # 之后的部分）。",
  ],
  refused: [
    "Overlay: this key is no longer accepted. Copy a new address from your console.",
    "叠加层：此密钥已失效。请从控制台复制新的网址。",
  ],
});

const WAIT_MS = 8_000;
const HIDDEN_UPDATE_MS = 5_000;
const DIP_MS = 8_000;
const ROWS_MAX = 4;
const LOW_BP = 1_000;

const root = document.documentElement;
const options = new URLSearchParams(location.search);
const state = { tally: null, stock: null, status: null, names: new Map() };
let paintTimer = null;
let visible = true;

function oneOf(name, allowed) {
  const wanted = options.get(name);
  return allowed.includes(wanted) ? wanted : allowed[0];
}

function dress() {
  root.dataset.widget = location.pathname.split("/").pop();
  root.dataset.theme = oneOf("theme", ["night", "day", "paper"]);
  root.dataset.layout = oneOf("layout", ["landscape", "vertical"]);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches ? "reduced" : "on";
  const anim = options.has("anim") ? oneOf("anim", ["on", "reduced", "off"]) : calm;
  root.classList.toggle("anim", anim === "on");
  const accent = (options.get("accent") || "").replace(/^#/, "");
  if (/^([0-9a-f]{3}|[0-9a-f]{6})$/i.test(accent)) root.style.setProperty("--accent", `#${accent}`);
  const scale = Number(options.get("scale"));
  if (scale >= 0.25 && scale <= 4) root.style.setProperty("--scale", String(scale));
  say(find("raised-label"), t("raised"));
  say(find("stock-label"), t("left"));
  say(find("test"), t("test"));
}

function notice(text) {
  find("notice").hidden = !text;
  say(find("notice"), text || "");
}

const fallback = oneOf("fallback", ["last", "dash", "hide"]);

// What was raised may fall: a refund, a payment that its bank took back. The total says so for a while instead of
// dropping in silence. Both figures are frames' own; the frames say what stands, not why.
const dip = { fromMinor: null, until: 0 };

function seeDip(before, { raised_minor: now, currency }) {
  if (before && before.currency === currency && now < before.raised_minor) {
    if (performance.now() > dip.until) dip.fromMinor = before.raised_minor;
    dip.until = performance.now() + DIP_MS;
    setTimeout(paintDip, DIP_MS + 50);
  }
}

function paintDip() {
  const node = find("dip");
  const minor = state.tally.raised_minor - (dip.fromMinor ?? 0);
  const shows = performance.now() < dip.until && minor < 0;
  node.hidden = !shows;
  if (shows) say(node, t("corrected", { amount: money(minor, state.tally.currency).replace("-", "−") }));
}

function paintTally() {
  const { raised_minor: raised, goal_minor: goal, currency, orders, units } = state.tally;
  const dashed = fallback === "dash" && isStale();
  showDigits(find("raised"), dashed ? "—" : money(raised, currency));
  say(find("sub"), dashed ? "" : t(orders === 1 ? "subOne" : "sub", { units: count(units), orders: count(orders) }));
  paintDip();
  const hasGoal = goal > 0;
  // Whole percents, rounded down: a bar never says 100 % before the goal is reached.
  const percent = hasGoal ? Number((BigInt(Math.max(raised, 0)) * 100n) / BigInt(goal)) : 0;
  const reached = hasGoal && raised >= goal;
  say(find("goal-label"), hasGoal ? t("goal", { goal: money(goal, currency, { round: true }) }) : "");
  say(find("percent"), dashed ? "—" : hasGoal ? `${count(percent)}%` : "");
  const missing = hasGoal ? money(Math.max(goal - raised, 0), currency, { round: true }) : "";
  say(find("to-go"), dashed || !hasGoal ? "" : reached ? t("reached") : t("toGo", { amount: missing }));
  find("percent").classList.toggle("reached", reached);
  find("fill").classList.toggle("reached", reached);
  find("fill").style.setProperty("--part", `${Math.min(percent, 100)}%`);
  find("bar").setAttribute("aria-valuenow", String(Math.min(percent, 100)));
  find("bar").hidden = !hasGoal;
}

function stampText() {
  const from = Date.parse(state.status?.live_at || state.status?.opens_at || "");
  const until = Date.parse(state.stock.sold_out_at || "");
  const seconds = (until - from) / 1000;
  // The time is that of the whole stock, so it says something about an offer only where that is the only one.
  const alone = state.stock.items.length === 1;
  return alone && seconds > 0 && seconds < 86_400 ? t("soldOutIn", { clock: clock(seconds) }) : t("soldOut");
}

function rowOf(sku) {
  const found = [...find("items").children].find((row) => row.dataset.sku === sku);
  if (found) return found;
  const bar = el("div", { class: "bar" }, el("div", { class: "fill" }));
  const row = el("li", { "data-sku": sku }, el("span", { class: "name" }), el("span", { class: "left" }), bar);
  find("items").append(row);
  return row;
}

function paintLeft(node, item, gone) {
  const kind = gone ? "stamp" : item.left === 0 ? "held" : "count";
  if (node.dataset.kind !== kind) {
    node.dataset.kind = kind;
    const inner = { stamp: [el("span", { class: "stamp" })], held: [], count: [el("b"), " ", el("small")] }[kind];
    node.replaceChildren(...inner);
  }
  if (kind === "stamp") say(node.firstChild, stampText());
  else if (kind === "held") say(node, t("held"));
  else {
    say(node.firstChild, count(item.left));
    say(node.lastChild, t("of", { total: count(item.total) }));
  }
}

function paintStock() {
  const items = state.stock.items.filter((item) => item.total > 0);
  // What can still be bought comes first, when there is not room for everything.
  const shown = [...items].sort((a, b) => Number(b.left > 0) - Number(a.left > 0)).slice(0, ROWS_MAX);
  const skus = shown.map((item) => item.sku);
  for (const row of [...find("items").children]) if (!skus.includes(row.dataset.sku)) row.remove();
  for (const item of shown) {
    const row = rowOf(item.sku);
    const gone = item.left === 0 && item.reserved === 0;
    const leftBp = (item.left * 10_000) / item.total;
    say(row.querySelector(".name"), state.names.get(item.sku) || item.sku);
    paintLeft(row.querySelector(".left"), item, gone);
    row.querySelector(".fill").style.setProperty("--part", `${leftBp / 100}%`);
    row.classList.toggle("low", leftBp <= LOW_BP);
    row.classList.toggle("gone", gone);
  }
  document.querySelector(".stock").dataset.rows = String(shown.length);
}

function paintStatus() {
  const { state: life } = state.status;
  say(find("title"), named(state.status, "title"));
  const over = life === "ended" || life === "settled";
  find("live").hidden = !(life === "live" || over);
  find("live").classList.toggle("ended", over);
  say(find("live"), t(over ? "ended" : "live"));
}

function isStale() {
  return live.link === "stale" || (live.link === "refused" && live.heardAt !== null);
}

function paintLink() {
  const stale = isStale();
  find("card").dataset.link = stale ? "stale" : "live";
  find("link").hidden = !stale;
  if (stale) say(find("link"), t("stale", { seconds: count(Math.round(live.silenceMs() / 1000)) }));
  const ready = state.tally || (root.dataset.widget === "stock" && state.stock);
  find("card").dataset.state = !ready ? "waiting" : stale && fallback === "hide" ? "hidden" : "shown";
  if (live.link === "refused") notice(t("refused"));
  else if (!ready && performance.now() > WAIT_MS) notice(t("connecting"));
  else notice(null);
}

function paint() {
  paintTimer = null;
  if (state.tally) paintTally();
  if (state.stock) paintStock();
  if (state.status) paintStatus();
  paintLink();
}

// Several topics of one tick become one painting; a source nobody sees paints rarely.
function paintSoon() {
  if (paintTimer === null) paintTimer = setTimeout(paint, visible ? 16 : HIDDEN_UPDATE_MS);
}

function take(frame) {
  const [, , part] = frame.topic.split("/");
  if (part === "tally") seeDip(state.tally, frame.state);
  state[part] = frame.state;
  const unknown = part === "stock" && frame.state.items.some((item) => !state.names.has(item.sku));
  if (unknown) learnNames(frame.topic.split("/")[1]);
  paintSoon();
}

let learning = false;

async function learnNames(streamId) {
  if (learning) return;
  learning = true;
  try {
    const front = await untilKnown(() => call("GET", `/streams/${streamId}/storefront`), { tries: 5 });
    for (const offer of front.offers) state.names.set(offer.sku, named(offer.product ?? offer));
    paintSoon();
  } catch {
    // The SKU is shown until the next stock frame asks again.
  } finally {
    setTimeout(() => (learning = false), HIDDEN_UPDATE_MS);
  }
}

const token = decodeURIComponent(location.hash.slice(1));
const live = new Live({
  topics: [],
  token: () => token,
  onFrame: take,
  onLink: paintSoon,
  // A new build is loaded when the picture may blink: at a random moment, so that not all overlays blink at once.
  onBuild: () => setTimeout(() => location.reload(), Math.random() * 20_000),
});

async function start() {
  dress();
  addEventListener("hashchange", () => location.reload());
  if (!token) return notice(t("noKey"));
  setInterval(paintLink, 1000);
  addEventListener("obsSourceVisibleChanged", (event) => {
    visible = event.detail.visible;
    if (visible) paint();
  });
  untilKnown(() => call("GET", "/meta")).then((meta) => (find("test").hidden = meta.mode !== "sandbox"));
  for (;;) {
    try {
      const me = await untilKnown(() => call("GET", "/me", { token }));
      live.topics = ["tally", "stock", "status"].map((part) => `stream/${me.stream_id}/${part}`);
      return live.start();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      live.link = "refused";
      await new Promise((wake) => setTimeout(wake, 15_000 + Math.random() * 15_000));
    }
  }
}

start();
