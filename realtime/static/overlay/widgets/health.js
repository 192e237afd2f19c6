// For the host's eyes only: is this overlay alive, how old is what it shows, and which way does it come.

import { el, say } from "../../dom.js";
import { count, translator } from "../../i18n.js";

const t = translator({
  title: ["Overlay health", "叠加层状态"],
  live: ["live", "正常"],
  stale: ["stale", "中断"],
  refused: ["key refused", "密钥被拒"],
  connecting: ["connecting", "连接中"],
  heard: ["last heard", "上次收到"],
  ago: ["{s} s ago", "{s} 秒前"],
  never: ["never", "从未"],
  way: ["transport", "传输方式"],
  reconnects: ["reconnects", "重连次数"],
  rate: ["frames a second", "每秒帧数"],
  painted: ["paintings", "绘制次数"],
  build: ["build", "版本"],
  lag: ["server to screen", "服务器到屏幕"],
  topic: ["v{version} · {frames} frames · {skipped} skipped · {age} s old", "v{version} · {frames} 帧 · 跳过 {skipped} · {age} 秒前"],
  none: ["nothing yet", "尚无"],
});

const TENTH_MS = 100;

// How often the browser could paint lately: counted by the frames it grants, and never asked for when hidden.
class Rate {
  constructor(ctx) {
    Object.assign(this, { frames: 0, since: performance.now(), perSecond: null });
    const next = () => {
      this.frames += 1;
      const spentMs = performance.now() - this.since;
      if (spentMs >= 1000) {
        this.perSecond = Math.round((this.frames * 1000) / spentMs);
        Object.assign(this, { frames: 0, since: performance.now() });
        ctx.again(0);
      }
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  }
}

const rates = new WeakMap();

function row(name) {
  return [el("dt", {}, t(name)), el("dd", { "data-fact": name })];
}

export default {
  parts: ["tally", "tonight", "stock", "status", "board", "milestones"],
  at: "top-left",
  ready: () => true,

  make(ctx) {
    const facts = ["heard", "lag", "way", "reconnects", "rate", "painted", "build"].flatMap(row);
    const head = el("div", { class: "head" }, el("h2", {}, t("title")), el("b", { class: "state", role: "status" }));
    const node = el("section", { class: "health" }, head, el("dl", {}, ...facts), el("dl", { class: "topics" }));
    for (const part of this.parts) node.lastChild.append(el("dt", {}, part), el("dd", { "data-topic": part }));
    rates.set(node, new Rate(ctx));
    return node;
  },

  paint(node, _, ctx) {
    const link = ctx.link();
    const state = ctx.stale() ? (link.state === "refused" ? "refused" : "stale") : link.state;
    const fact = (name, text) => say(node.querySelector(`[data-fact=${name}]`), text);
    node.dataset.state = state;
    say(node.querySelector(".state"), t(state));
    const s = link.silenceMs === null ? null : (Math.floor(link.silenceMs / TENTH_MS) / 10).toFixed(1);
    fact("heard", s === null ? t("never") : t("ago", { s }));
    fact("lag", link.lagMs === null ? "—" : `${count(link.lagMs)} ms`);
    fact("way", link.transport ?? "—");
    fact("reconnects", count(link.reconnects));
    fact("rate", rates.get(node).perSecond === null ? "—" : count(rates.get(node).perSecond));
    fact("painted", count(link.paintings));
    fact("build", link.build ?? "—");
    for (const part of this.parts) {
      const topic = link.topics.get(part);
      const age = topic ? count(Math.max(0, Math.round((ctx.now() - topic.at) / 1000))) : null;
      const text = topic ? t("topic", { ...topic, frames: count(topic.frames), skipped: count(topic.skipped), age }) : t("none");
      say(node.querySelector(`[data-topic=${part}]`), text);
    }
  },
};
