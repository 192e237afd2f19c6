// Rehearse with play money: an earlier stream runs once more over the screens that were opened for it, and everything
// says REHEARSAL. Without an earlier stream there is nothing to rehearse with, and no panel.

import { Refusal, Unknown } from "../api.js";
import { el, say } from "../dom.js";
import { apart, named, timeOfDay, translator } from "../i18n.js";
import { button, card, select } from "./panel.js";
import { t } from "./words.js";

const w = translator({
  title: ["Rehearsal", "彩排"],
  text: [
    "Plays an earlier stream on overlays whose address has ?test=1. No money moves, and your real totals stay.",
    "在网址带 ?test=1 的叠加层上重播以前的直播。不涉及真实资金，真实总额不变。",
  ],
  which: ["Play again", "重播"],
  speed: ["Speed", "速度"],
  1: ["as it was (1×)", "原速（1×）"],
  10: ["ten times as fast (10×)", "十倍速（10×）"],
  start: ["Start", "开始"],
  stop: ["Stop", "停止"],
  started: ["The rehearsal runs.", "彩排进行中。"],
  stopped: ["The rehearsal is over.", "彩排已停止。"],
  running: ["REHEARSAL is running since {at} · {done}%", "彩排进行中，开始于 {at} · {done}%"],
  runs: ["REHEARSAL is running", "彩排进行中"],
  finished: ["REHEARSAL has finished. Its last picture stays on the overlays until you stop it.", "彩排已播完。停止之前，叠加层保留最后画面。"],
});

const LOOK_MS = 5_000;

function words({ of_stream_id: of, started_at: at, position_s: done, length_s: length, finished }) {
  if (!of) return "";
  if (finished) return w("finished");
  return at ? w("running", { at: timeOfDay(at), done: length ? Math.floor((done * 100) / length) : 0 }) : w("runs");
}

export class RehearsalPanel {
  constructor(desk, streams) {
    this.desk = desk;
    const earlier = streams.filter((stream) => ["ended", "settled"].includes(stream.state));
    const options = earlier.map((stream) => [stream.id, `${apart(named(stream, "title"))} — ${t(stream.state)}`]);
    this.which = select(w("which"), options, { id: "rehearse" });
    this.speed = select(w("speed"), ["1", "10"].map((speed) => [speed, w(speed)]));
    this.says = el("p", { class: "rehearsing", id: "rehearsing", role: "status", hidden: true });
    this.start = button("rehearse", w("start"), (node) => this.begin(node), { kind: "" });
    this.stop = button("rehearse-stop", w("stop"), (node) => this.end(node), { kind: "danger" });
    this.asks = el("div", {}, this.which.node, this.speed.node);
    const buttons = el("div", { class: "buttons" }, this.start, this.stop);
    this.node = card(w("title"), { id: "rehearsal" }, this.says, el("p", { class: "soft small" }, w("text")), this.asks, buttons);
    this.node.hidden = true;
    // Without an earlier stream there is nothing to rehearse with.
    if (options.length) this.look();
  }

  path() {
    return this.desk.path("/rehearsal");
  }

  async look() {
    try {
      this.see(await this.desk.api("GET", this.path()));
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      if (error instanceof Refusal && error.status === 404) this.node.hidden = true;
      if (error instanceof Unknown) this.later();
    }
  }

  see(rehearsal) {
    this.node.hidden = false;
    const on = Boolean(rehearsal.of_stream_id);
    const plays = on && !rehearsal.finished;
    this.says.hidden = !on;
    say(this.says, words(rehearsal));
    this.start.hidden = plays;
    this.stop.hidden = !on;
    // It ends by itself, and somebody else may stop it.
    if (plays) this.later();
    else clearTimeout(this.timer);
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  async begin(node) {
    const body = { of_stream_id: this.which.input.value, speed: Number(this.speed.input.value) };
    if (await this.desk.act(node, () => this.desk.api("PUT", this.path(), body), () => w("started"))) await this.look();
  }

  async end(node) {
    if (await this.desk.act(node, () => this.desk.api("DELETE", this.path()), () => w("stopped"))) await this.look();
  }
}
