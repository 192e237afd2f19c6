// Rehearse with play money: an earlier stream runs once more over the screens that were opened for it, and everything
// says REHEARSAL. Without an earlier stream, or where the server knows no rehearsal, there is no panel.

import { Refusal, Unknown } from "../api.js";
import { el, say } from "../dom.js";
import { named, timeOfDay, translator } from "../i18n.js";
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
  running: ["REHEARSAL is running since {at}", "彩排进行中，开始于 {at}"],
  runs: ["REHEARSAL is running", "彩排进行中"],
});

export class RehearsalPanel {
  constructor(desk, streams) {
    this.desk = desk;
    const earlier = streams.filter((stream) => ["ended", "settled"].includes(stream.state));
    const options = earlier.map((stream) => [stream.id, `${named(stream, "title")} — ${t(stream.state)}`]);
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
    }
  }

  see(rehearsal) {
    this.node.hidden = false;
    const on = Boolean(rehearsal.of_stream_id);
    this.says.hidden = !on;
    say(this.says, on ? (rehearsal.started_at ? w("running", { at: timeOfDay(rehearsal.started_at) }) : w("runs")) : "");
    this.start.hidden = on;
    this.stop.hidden = !on;
  }

  async begin(node) {
    const body = { of_stream_id: this.which.input.value, speed: Number(this.speed.input.value) };
    if (await this.desk.act(node, () => this.desk.api("PUT", this.path(), body), () => w("started"))) await this.look();
  }

  async end(node) {
    if (await this.desk.act(node, () => this.desk.api("DELETE", this.path()), () => w("stopped"))) await this.look();
  }
}
