// The alert that is on air in this overlay's group. The server keeps the queue and decides what is on and until when;
// this only shows it, says once that it is really seen, and takes it off on the second. It knows of one alert at a
// time, so nothing can pile up here, and an alert that was seen before a refresh is not played again.

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
    this.show = null;
    // The one that is over, or was over when this page began: it does not come back.
    this.done = null;
    this.began = false;
    this.timer = null;
    this.stopped = false;
  }

  // Told of a frame before any delay: whoever presses panic or mute does not mean "in ten seconds".
  hear({ muted, panic }) {
    this.stopped = muted || panic;
    if (this.stopped) this.off();
  }

  // Nothing on the next frame, without any motion.
  off() {
    clearTimeout(this.timer);
    if (this.show) this.done = this.show.id;
    this.show = null;
    this.node.replaceChildren();
    document.documentElement.toggleAttribute("data-empty", true);
  }

  leave() {
    clearTimeout(this.timer);
    const { show } = this;
    if (!show) return;
    this.show = null;
    this.done = show.id;
    document.documentElement.toggleAttribute("data-empty", true);
    show.node.dataset.state = "out";
    if (this.ctx.params.anim === "off") show.node.remove();
    else setTimeout(() => show.node.remove(), LEAVE_MS);
  }

  take(states) {
    this.follow(states);
    // Marks on a picture of nothing would hang in the air.
    document.documentElement.toggleAttribute("data-empty", !this.show);
  }

  follow({ alerts, board }) {
    const first = !this.began;
    this.began = true;
    const alert = alerts.on_air;
    if (first && alert?.shown) this.done = alert.id;
    if (this.stopped || alerts.muted || alerts.panic) return this.off();
    if (!alert || alert.id === this.done) return this.leave();
    // By the server's own clock, not the delayed one: after its end the next alert is on air, or this one came again.
    const leftMs = Date.parse(alert.ends_at) - serverNow();
    if (leftMs <= 0) return this.leave();
    const card = board?.cards.find((one) => one.sku === alert.sku) ?? null;
    if (this.show?.id !== alert.id) {
      this.leave();
      this.enter(alert, card, leftMs, alerts.sound);
    } else write(this.show, alert, card);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.leave(), leftMs);
  }

  enter(alert, card, leftMs, sound) {
    const show = { id: alert.id, node: el("section", { class: "alert plate", "data-airing": alert.id, "data-state": "wait" }), words: null };
    write(show, alert, card);
    show.node.style.setProperty("--left", `${leftMs}ms`);
    // A crowd of alerts in a moment leaves one that goes and one that comes.
    while (this.node.children.length > 1) this.node.firstChild.remove();
    this.node.append(show.node);
    this.show = show;
    // Laid out once where it comes from, or the browser would not see that it moves.
    void show.node.offsetWidth;
    show.node.dataset.state = "in";
    const wanted = this.ctx.params.sound === "auto" ? sound : this.ctx.params.sound;
    if (wanted === "chime") chime(alert.kind === "burst" || alert.units === 0);
    // A rehearsal is nothing that the director of the real alerts should hear of.
    if (!isPreview && !this.ctx.params.test) this.whenPainted(show);
  }

  // Two frames on, the first one has been painted; a source that is not painted never gets there.
  whenPainted(show) {
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        if (this.show === show && document.visibilityState === "visible") this.saySeen(show.id);
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
    return screen.node;
  },
  ready: (states) => Boolean(states.alerts),
  idle: (states) => !states.alerts?.on_air,
  hear(node, part, state) {
    if (part === "alerts") screens.get(node).hear(state);
  },
  paint(node, states) {
    screens.get(node).take(states);
  },
};
