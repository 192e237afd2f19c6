// The page for a wrong turn.

import { el } from "./dom.js";
import { translator } from "./i18n.js";
import { emptyState, frame, show } from "./page.js";

const t = translator({
  title: ["There is nothing here", "这里没有内容"],
  text: ["The address may be mistyped or old.", "网址可能有误或已失效。"],
  home: ["To the front page", "返回首页"],
});

document.title = t("title");
frame();
show(emptyState(t("title"), t("text"), el("p", {}, el("a", { class: "button", href: "/" }, t("home")))));
