// The alert that is on air in this overlay's group. The server keeps the queue and decides what is on and until when;
// this says once that it shows it, as soon as it hears of it, shows it delay_ms later, and takes it off on the second.
// It knows of the few that are between hearing and showing, so nothing can pile up here, and an alert that somebody
// promised to show before a refresh is not played again.

import { Refusal, Unknown, serverNow, sleep } from "../../api.js";
import { productArt } from "../../art.js";
import { el, svg } from "../../dom.js";
import { count, named, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { chime } from "../chime.js";
import { choice, whole } from "../parameters.js";
import { unitsOf } from "../units.js";

const t = translator({
  somebody: ["Somebody kind", "一位爱心人士"],
  bought: ["bought {units}", "买下 {units}"],
  gave: ["gave", "捐赠"],
  burst: ["in {n} s", "{n} 秒内"],
  burstLong: ["in {n} min", "{n} 分钟内"],
  orders: ["{n} orders", "{n} 单"],
  newest: ["newest", "最新"],
  biggest: ["biggest {amount}", "最高 {amount}"],
  dedicated: ["for {text}", "献给 {text}"],
  test: ["TEST", "测试"],
});

const LEAVE_MS = 450;
const SAY_TRIES = 4;
const SAY_AGAIN_MS = 400;
const LONG_S = 120;
// A minute's delay with two seconds for each, and as many again that are over.
const AIRINGS_MAX = 64;

// In a frame of the composer or the console this is a preview: what is seen there was not seen by the audience.
const isPreview = window.top !== window;

function heart() {
  const shape = "M60 98C22 72 14 54 14 40c0-15 11-24 23-24 10 0 18 5 23 14 5-9 13-14 23-14 12 0 23 9 23 24 0 14-8 32-46 58z";
  return svg("svg", { viewBox: "0 0 120 120", class: "heart", "aria-hidden": "true" }, svg("path", { d: shape }));
}

function said(kind, text) {
  return text ? el("p", { class: kind, dir: "auto" }, text) : null;
}

function who(name) {
  return name ? el("bdi", { class: "who" }, name) : el("span", { class: "who nobody" }, t("somebody"));
}

function burstParts(alert, card) {
  const within = alert.within_s >= LONG_S ? t("burstLong", { n: count(Math.round(alert.within_s / 60)) }) : t("burst", { n: count(alert.within_s) });
  const head = el("p", { class: "crowd" }, el("b", {}, `×${count(alert.units)}`), " ", el("span", {}, `${unitsOf(card, alert.units)} ${within}`));
  const product = card && el("p", { class: "product" }, el("bdi", {}, named(card)));
  const notes = [el("span", { class: "num" }, t("orders", { n: count(alert.count) }))];
  if (alert.biggest_minor > 0) notes.push(el("span", { class: "num" }, t("biggest", { amount: money(alert.biggest_minor, alert.currency, { round: true }) })));
  const newest = alert.name && el("p", { class: "newest" }, el("span", {}, t("newest")), " ", el("bdi", { class: "who" }, alert.name));
  return [head, product, newest, el("p", { class: "notes" }, ...notes)];
}

function oneParts(alert, card) {
  const bought = alert.units > 0;
  const what = bought ? t("bought", { units: `${count(alert.units)} ${unitsOf(card, alert.units)}` }) : t("gave");
  const amount = alert.amount_minor > 0 && el("b", { class: "amount" }, money(alert.amount_minor, alert.currency, { round: true }));
  return [
    el("p", { class: "head" }, who(alert.name)),
    el("p", { class: "deed" }, el("span", {}, what), " ", amount),
    bought && card && el("p", { class: "product" }, el("bdi", {}, named(card))),
    said("dedication", alert.dedication && t("dedicated", { text: alert.dedication })),
    said("message", alert.message),
  ];
}

function face(alert, card) {
  const art = alert.units > 0 ? productArt(alert.sku ?? "", card ? `${card.name} ${card.name_zh ?? ""}` : "") : heart();
  return el("div", { class: "face" }, art);
}

// What is on the card, as one text: an alert that says the same is left alone, one that changed on air is written anew.
function wordsOf(alert, card) {
  const { shown, ...rest } = alert;
  return JSON.stringify([rest, card?.name, card?.name_zh]);
}

function write(show, alert, card) {
  const words = wordsOf(alert, card);
  if (show.words === words) return;
  show.words = words;
  const isBurst = alert.kind === "burst" || (alert.kind === "test" && alert.count > 1);
  const body = isBurst ? burstParts(alert, card) : oneParts(alert, card);
  const mark = alert.kind === "test" && el("span", { class: "mark-test" }, t("test"));
  show.node.dataset.kind = alert.kind;
  const parts = [face(alert, card), el("div", { class: "words" }, ...body.filter(Boolean)), mark, el("i", { class: "life" })];
  show.node.replaceChildren(...parts.filter(Boolean));
}

class Screen {
  constructor(ctx) {
    this.ctx = ctx;
    this.node = el("div", { class: "alerts", role: "status" });
    this.heard = new Map();
    this.last = null;
    this.show = null;
    this.began = false;
    this.board = null;
  }

  // Told of a frame before any delay. Whoever presses panic, mute or skip does not mean "in ten seconds", and the
  // director wants to know now, not in ten seconds, whether an overlay takes what is on air.
  hear({ on_air: alert, muted, panic, sound }, at) {
    const begins = !this.began;
    this.began = true;
    this.sound = sound;
    const stopped = muted || panic;
    if (stopped) for (const one of this.heard.values()) one.over = true;
    const { last } = this;
    // By the server's own clock it was taken off before its time: skipped. Without a delay it is over in any case.
    const left = last && last.alert.id !== alert?.id;
    if (left && (!this.ctx.params.delay_ms || at < Date.parse(last.alert.ends_at))) last.over = true;
    this.last = alert && this.note(alert, stopped || (begins && alert.shown));
    if (stopped) this.off();
    else if (this.show?.one.over) this.leave();
    else if (this.show && this.show.one === this.last) this.rewrite();
    if (this.last) this.promise(this.last);
  }

  // Keep an airing with the time it has on this screen. What is said of it anew, such as a name that was hidden,
  // counts from now on.
  note(alert, over) {
    const known = this.heard.get(alert.id);
    if (known) {
      known.over ||= over;
      return Object.assign(known, { alert });
    }
    const now = performance.now();
    const { delay_ms: delayMs } = this.ctx.params;
    const dueMs = Date.parse(alert.starts_at) + delayMs - serverNow();
    const serverEndsAt = now + Date.parse(alert.ends_at) - serverNow();
    const one = { alert, over, said: false, dueAt: now + Math.min(Math.max(dueMs, 0), delayMs), serverEndsAt, endsAt: serverEndsAt + delayMs };
    one.over ||= serverEndsAt <= now;
    this.heard.set(alert.id, one);
    if (this.heard.size > AIRINGS_MAX) this.heard.delete(this.heard.keys().next().value);
    this.ctx.again(one.dueAt - now);
    return one;
  }

  // What nobody promised to show by its end is queued again by the server, and will be on air another time.
  isOurs(one) {
    return this.isSilent() || one.said || one.alert.shown || performance.now() < one.serverEndsAt;
  }

  // A rehearsal is nothing that the director of the real alerts should hear of, and a preview has no audience.
  isSilent() {
    return isPreview || this.ctx.params.test;
  }

  isIdle() {
    const now = performance.now();
    return ![...this.heard.values()].some((one) => !one.over && now < one.endsAt);
  }

  // Nothing on the next frame, without any motion.
  off() {
    this.show = null;
    this.node.replaceChildren();
    document.documentElement.toggleAttribute("data-empty", true);
  }

  leave() {
    const { show } = this;
    if (!show) return;
    this.show = null;
    show.one.over = true;
    document.documentElement.toggleAttribute("data-empty", true);
    show.node.dataset.state = "out";
    if (this.ctx.params.anim === "off") show.node.remove();
    else setTimeout(() => show.node.remove(), LEAVE_MS);
  }

  take({ board }) {
    this.board = board ?? null;
    const now = performance.now();
    const coming = [...this.heard.values()].filter((one) => !one.over && now < one.endsAt && this.isOurs(one));
    const due = coming.filter((one) => one.dueAt <= now).at(-1) ?? null;
    if (this.show?.one !== due) {
      this.leave();
      if (due) this.enter(due);
    } else if (due) this.rewrite();
    if (due) this.promise(due);
    // Marks on a picture of nothing would hang in the air.
    document.documentElement.toggleAttribute("data-empty", !this.show);
    const next = Math.min(...coming.map((one) => (one.dueAt > now ? one.dueAt : one.endsAt)));
    if (Number.isFinite(next)) this.ctx.again(next - now);
  }

  rewrite() {
    const { show } = this;
    const { alert } = show.one;
    write(show, alert, this.board?.cards.find((card) => card.sku === alert.sku) ?? null);
  }

  enter(one) {
    const { alert } = one;
    const attributes = { class: "alert plate", "data-airing": alert.id, "data-state": "wait" };
    const show = { one, node: el("section", attributes), words: null };
    this.show = show;
    this.rewrite();
    show.node.style.setProperty("--left", `${one.endsAt - performance.now()}ms`);
    // A crowd of alerts in a moment leaves one that goes and one that comes.
    while (this.node.children.length > 1) this.node.firstChild.remove();
    this.node.append(show.node);
    // Laid out once where it comes from, or the browser would not see that it moves.
    void show.node.offsetWidth;
    show.node.dataset.state = "in";
    const wanted = this.ctx.params.sound === "auto" ? this.sound : this.ctx.params.sound;
    if (wanted === "chime") chime(alert.kind === "burst" || alert.units === 0);
  }

  // Say that this airing is shown here, once, and only from a source that is being painted: one that is not never
  // gets two frames on.
  promise(one) {
    if (one.said || one.over || this.isSilent()) return;
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        const seen = document.visibilityState === "visible" && this.ctx.painting.visible;
        if (one.said || one.over || !seen || performance.now() >= one.serverEndsAt) return;
        one.said = true;
        this.saySeen(one.alert.id);
      }),
    );
  }

  async saySeen(airing) {
    const { streamId, params } = this.ctx;
    const path = `/streams/${encodeURIComponent(streamId)}/alerts/${encodeURIComponent(params.group)}/shown`;
    for (let n = 1; n <= SAY_TRIES; n += 1) {
      try {
        return await this.ctx.call("POST", path, { airing });
      } catch (error) {
        if (error instanceof Refusal) return null;
        if (!(error instanceof Unknown)) throw error;
        // Nobody knows whether it was heard; the server counts an airing once however often it is told.
        await sleep(SAY_AGAIN_MS * 2 ** n);
      }
    }
    return null;
  }
}

const screens = new WeakMap();

export default {
  parts: ["alerts", "board"],
  bare: true,
  at: "top",
  options: {
    sound: choice("auto", "none", "chime"),
    lines: whole(3, 1, 3),
  },
  make(ctx) {
    const screen = new Screen(ctx);
    screen.node.style.setProperty("--lines", String(ctx.params.lines));
    screens.set(screen.node, screen);
    ctx.screen = screen;
    return screen.node;
  },
  ready: (states, ctx) => ctx.screen.began,
  idle: (states, ctx) => ctx.screen.isIdle(),
  hear(node, part, state, at) {
    if (part === "alerts") screens.get(node).hear(state, at);
  },
  paint(node, states) {
    screens.get(node).take(states);
  },
};
