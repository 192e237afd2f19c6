// One page for every overlay: it learns from its key which stream it belongs to, watches the topics its widget wants,
// and paints the newest state of each. It never adds anything up, keeps nothing, and comes back by itself.
//
// A widget is a module in widgets/:
//   export default {
//     parts: ["tally"],            what it watches, or (params) => [...]; "campaign" is the campaign's tally
//     options: { max: whole(…) },  parameters of its own, by the rules of parameters.js
//     at: "bottom-left",           where it stands on a landscape stage
//     upright: "top",              and on a vertical one
//     bare: true,                  it stands without a plate around it
//     styled: true,                widgets/{name}.css is loaded as well
//     make(ctx) → node,            build it once
//     paint(node, states, ctx),    states[part] is the newest state; called when ready
//     ready(states, ctx) → bool,   is there anything to show; without it, when every part is known
//     idle(states, ctx) → bool,    may the page reload now; without it, always
//     hear(node, part, state, at), told of each frame as it comes, with its time, before delay_ms: for what must be at once
//   }
// ctx: { params, t, locale, streamId, now() server ms less delay_ms, call(method, path, body), stale(), dashed(),
//        again(ms) paint once more by then, link() what the connection is like }

import { Refusal, call, serverNow, sleep, untilKnown } from "../api.js";
import { el, find, say } from "../dom.js";
import { count, locale } from "../i18n.js";
import { follow } from "../transports.js";
import { Fit, dress } from "./dress.js";
import { Held } from "./held.js";
import { Painting } from "./painting.js";
import { readParameters } from "./parameters.js";
import { badge, isOn } from "./rehearsal.js";
import { Upkeep, build } from "./upkeep.js";
import { t } from "./words.js";

const CONNECTING_MS = 8_000;
const REFUSED_MS = 15_000;
const SECOND_MS = 1_000;

const name = location.pathname.split("/").pop();
// A key of an overlay knows its stream; a host who composes one looks at it with their own key, and names the stream.
const [token, streamLookedAt] = decodeURIComponent(location.hash.slice(1)).split(",");
const states = {};
const heard = new Map();
let stage = null;

// Where a widget's parts are told; a rehearsal has topics of its own.
function topicOf(part, { params, streamId, campaignId }) {
  if (part === "campaign" && !params.test) return `campaign/${campaignId}/tally`;
  const scope = params.test ? "rehearsal" : "stream";
  const told = { alerts: `alerts/${params.group}`, campaign: "tally" }[part] ?? part;
  return `${scope}/${streamId}/${told}`;
}

function context(params, ignored) {
  const ctx = { params, ignored, t, locale, streamId: null, campaignId: null, feed: null, painting: null, lagMs: null, trouble: null };
  ctx.now = () => serverNow() - params.delay_ms;
  ctx.call = (method, path, body) => call(method, path, { token, body });
  ctx.silenceMs = () => ctx.feed?.silenceMs() ?? null;
  ctx.stale = () => heard.size > 0 && (ctx.silenceMs() > params.stale_after * 1000 || ctx.feed.link === "refused");
  ctx.dashed = () => params.fallback === "dash" && ctx.stale();
  ctx.again = (ms) => ctx.painting.within(ms);
  ctx.link = () => ({
    state: ctx.feed?.link ?? "connecting",
    transport: ctx.feed?.transport ?? null,
    silenceMs: ctx.silenceMs(),
    reconnects: ctx.feed?.reconnects ?? 0,
    lagMs: ctx.lagMs,
    paintings: ctx.painting.count,
    topics: heard,
    build,
  });
  return ctx;
}

function notice(text) {
  find("notice").hidden = !text;
  say(find("notice"), text || "");
}

function ageText(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  return s < 120 ? t("ageS", { n: count(s) }) : t("ageMin", { n: count(Math.floor(s / 60)) });
}

function paintMarks({ stale, ready }) {
  const { ctx } = stage;
  const state = !ready ? "waiting" : stale && ctx.params.fallback === "hide" ? "hidden" : "shown";
  if (find("card").dataset.state !== state) find("card").dataset.state = state;
  document.documentElement.dataset.link = stale ? "stale" : "live";
  find("link").hidden = !stale;
  if (stale) say(find("link"), t("stale", { age: ageText(ctx.silenceMs() ?? 0) }));
  const trouble = ctx.feed?.link === "refused" ? "refused" : ctx.trouble;
  if (ctx.params.test) say(find("test"), t(badge(states.status, ctx.feed?.link)));
  // Over the best of connections a rehearsal that nobody started tells nothing, and what was told may wait for delay_ms.
  const silent = !heard.size && ctx.feed?.link !== "live";
  if (trouble) notice(t(trouble));
  else notice(silent && performance.now() > CONNECTING_MS ? t("connecting") : null);
}

function paint() {
  const { widget, node, ctx, parts } = stage;
  const known = parts.every((part) => states[part]);
  const on = !ctx.params.test || isOn(states.status);
  const ready = on && (widget.ready ? widget.ready(states, ctx) : known);
  if (ready) widget.paint(node, states, ctx);
  paintMarks({ stale: ctx.stale(), ready });
}

function take(frame, part) {
  states[part] = frame.state;
  const before = heard.get(part) ?? { frames: 0, skipped: 0, version: frame.version - 1, epoch: frame.epoch };
  const gap = frame.epoch === before.epoch ? frame.version - before.version - 1 : 0;
  heard.set(part, {
    epoch: frame.epoch,
    version: frame.version,
    at: frame.at,
    frames: before.frames + 1,
    skipped: before.skipped + Math.max(gap, 0),
  });
  stage.upkeep.heard();
  stage.ctx.painting.soon();
}

// The stream of the key, and the campaign where the widget shows that one's tally. Asked until it is known: a key that
// was refused may be given back, and nobody is there to press a button.
async function learn(ctx, parts) {
  for (;;) {
    try {
      const me = await untilKnown(() => ctx.call("GET", "/me"));
      const streamId = me.stream_id ?? streamLookedAt;
      if (!streamId) ctx.trouble = "noStream";
      else {
        ctx.trouble = null;
        ctx.streamId = streamId;
        if (!parts.includes("campaign") || ctx.params.test) return;
        const front = await untilKnown(() => call("GET", `/streams/${streamId}/storefront`));
        ctx.campaignId = front.campaign.id;
        return;
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      ctx.trouble = "refused";
    }
    ctx.painting.soon();
    await sleep(REFUSED_MS * (1 + Math.random()));
  }
}

function watch(ctx, parts) {
  const { widget, node } = stage;
  // The status of a rehearsal tells whether there is one.
  const watched = ctx.params.test ? [...new Set([...parts, "status"])] : parts;
  const partOf = new Map(watched.map((part) => [topicOf(part, ctx), part]));
  const held = new Held(ctx.params.delay_ms, (frame) => take(frame, partOf.get(frame.topic)));
  ctx.feed = follow(ctx.params.transport, {
    topics: [...partOf.keys()],
    token: () => token,
    onFrame: (frame) => {
      widget.hear?.(node, partOf.get(frame.topic), frame.state, frame.at);
      held.put(frame);
    },
    onLink: () => ctx.painting.soon(),
    onBuild: (newest) => stage.upkeep.onBuild(newest),
  });
  ctx.feed.start();
}

function upkeepOf(ctx, widget) {
  return new Upkeep({
    silenceMs: () => (ctx.feed ? ctx.silenceMs() : 0),
    idle: () => !ctx.painting.visible || !widget.idle || widget.idle(states, ctx),
    // A page that loads itself anew shows nothing until it heard something: only when there is something to hear.
    proof: () =>
      ctx.call("GET", `/feed?topics=${ctx.feed.topics.join(",")}`).then(
        () => true,
        () => false,
      ),
  });
}

function debug(ctx) {
  const lines = ctx.ignored.map((one) => t("ignored", one));
  find("debug").hidden = false;
  find("debug").replaceChildren(...(lines.length ? lines : [t("nothingIgnored")]).map((line) => el("li", {}, line)));
}

// A widget's own style sheet, for those that have one.
function addSheet() {
  document.head.append(el("link", { rel: "stylesheet", href: new URL(`widgets/${name}.css`, import.meta.url).href }));
}

async function start() {
  const { default: widget } = await import(`./widgets/${name}.js`);
  if (widget.styled) addSheet();
  const { values: params, ignored } = readParameters(location.search, widget.options);
  dress(name, params, widget);
  const ctx = context(params, ignored);
  const parts = typeof widget.parts === "function" ? widget.parts(params) : widget.parts;
  const node = widget.make(ctx);
  find("plate").append(node);
  document.documentElement.classList.toggle("bare", Boolean(widget.bare));
  if (params.debug) debug(ctx);
  say(find("test"), t(params.test ? "rehearsal" : "testMoney"));
  find("test").hidden = !params.test;
  document.documentElement.toggleAttribute("data-test", params.test);
  addEventListener("hashchange", () => location.reload());
  ctx.painting = new Painting(paint, params.fps_cap);
  ctx.fit = new Fit(find("card"), params);
  stage = { widget, node, ctx, parts, upkeep: upkeepOf(ctx, widget) };
  if (!token) return notice(t("noKey"));
  setInterval(() => ctx.again(0), SECOND_MS);
  if (!params.test) {
    untilKnown(() => call("GET", "/meta")).then((meta) => (find("test").hidden = meta.mode !== "sandbox"));
  }
  await learn(ctx, parts);
  watch(ctx, parts);
}

start();
