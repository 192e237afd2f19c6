// The front page: what this is, and the streams one can go to.

import { call, untilKnown } from "./api.js";
import { el } from "./dom.js";
import { named, translator } from "./i18n.js";
import { emptyState, frame, show } from "./page.js";

const t = translator({
  title: ["Buy from the stream, help for real", "边看直播，边做公益"],
  text: [
    "Hosts sell what farmers grow. A share of every bag goes to a cause, and every total on screen is what the books add up to.",
    "主播帮农户卖货，每一件都有一部分捐给公益项目；屏幕上的每个数字都与账本一致。",
  ],
  live: ["LIVE", "直播中"],
  scheduled: ["Opens soon", "即将开售"],
  ended: ["Sale over", "已结束"],
  shop: ["To the shop", "进入商店"],
  none: ["No stream is on right now", "目前没有直播"],
  noneText: ["Come back when a host goes live.", "主播开播后再来看看吧。"],
  trouble: ["The list cannot be shown right now; we keep trying.", "列表暂时无法显示，正在重试。"],
  staff: ["For hosts and farmers", "主播与农户入口"],
  console: ["Host's console", "主播控制台"],
  farmer: ["Farmer's page", "农户页面"],
});

function card(stream) {
  const live = stream.state === "live";
  return el(
    "article",
    { class: "card" },
    el("span", { class: live ? "badge live" : "badge" }, t(stream.state === "settled" ? "ended" : stream.state)),
    el("h2", {}, named(stream, "title")),
    stream.host?.name ? el("p", { class: "soft" }, stream.host.name) : null,
    el("p", {}, el("a", { class: "button wide", href: `/shop/${encodeURIComponent(stream.id)}` }, t("shop"))),
  );
}

async function start() {
  document.title = t("title");
  frame();
  const head = [el("h1", {}, t("title")), el("p", { class: "soft" }, t("text"))];
  const staff = el(
    "p",
    { class: "soft small empty" },
    `${t("staff")}: `,
    el("a", { href: "/console" }, t("console")),
    " · ",
    el("a", { href: "/farmer" }, t("farmer")),
  );
  show(...head, staff);
  const { items } = await untilKnown(() => call("GET", "/streams?limit=100"), {
    onWait: () => show(...head, el("p", { class: "note", role: "status" }, t("trouble")), staff),
  });
  const open = items.filter((stream) => ["live", "scheduled", "ended"].includes(stream.state));
  open.sort((a, b) => Number(b.state === "live") - Number(a.state === "live"));
  const list = open.length ? open.map(card) : [emptyState(t("none"), t("noneText"))];
  show(...head, ...list, staff);
}

start();
