// The console by keyboard. A key presses the button it stands on, so it does exactly what a click does; none does
// anything while somebody types, answers a question, or holds Ctrl, Alt or ⌘.

import { el } from "../dom.js";
import { translator } from "../i18n.js";

const w = translator({
  title: ["Keyboard", "键盘快捷键"],
  close: ["Close", "关闭"],
  help: ["Keyboard shortcuts", "键盘快捷键"],
  "?": ["Show this list", "显示此列表"],
  P: ["PANIC, and back on air (with Shift)", "紧急隐藏／恢复（Shift）"],
  m: ["Mute or unmute alerts", "静音／取消静音"],
  s: ["Skip the alert on air", "跳过当前提醒"],
  t: ["Send a test alert", "发送测试提醒"],
  "]": ["Pin the next product", "置顶下一个商品"],
  "[": ["Pin the previous product", "置顶上一个商品"],
  u: ["Unpin", "取消置顶"],
  n: ["Message read, next one", "留言已读，下一条"],
  i: ["Keep the message for later", "稍后再读"],
  b: ["Skip the message", "跳过留言"],
  j: ["Next text to review", "下一条待审"],
  k: ["Previous text to review", "上一条待审"],
  a: ["Show it (approve)", "通过并显示"],
  p: ["Pass it on (two-pass)", "初审通过"],
  d: ["Hide it", "隐藏"],
  x: ["Select it", "选择"],
  digits: ["Go to a section", "前往栏目"],
});

const TYPING = "input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]";

export class Shortcuts {
  // actions: { key: () => a button to press, null where there is none, or true when it did it itself }
  // sections: { "1": … }, told as one row of the list
  constructor(actions, { sections = {} } = {}) {
    this.digits = Object.keys(sections).length;
    this.keys = [...Object.keys(actions), ...(this.digits ? ["digits"] : []), "?"];
    this.actions = { ...actions, ...sections, "?": () => this.help() };
    this.listen = (event) => this.press(event);
  }

  start() {
    addEventListener("keydown", this.listen);
    return this;
  }

  stop() {
    removeEventListener("keydown", this.listen);
  }

  press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
    if (event.target.closest?.(TYPING) || document.querySelector("dialog[open]")) return;
    const action = this.actions[event.key];
    if (!action) return;
    const pressed = action();
    if (!pressed) return;
    event.preventDefault();
    if (pressed instanceof HTMLElement && !pressed.disabled && pressed.getAttribute("aria-disabled") !== "true") pressed.click();
  }

  help() {
    const rows = this.keys.flatMap((key) => [
      el("dt", {}, el("kbd", {}, key === "digits" ? `1 – ${this.digits}` : key)),
      el("dd", {}, w(key)),
    ]);
    const close = el("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, w("close"));
    const dialog = el(
      "dialog",
      { "aria-labelledby": "keys-title", class: "keys", onclose: () => dialog.remove() },
      el("h2", { id: "keys-title" }, w("title")),
      el("dl", {}, ...rows),
      el("div", { class: "buttons" }, close),
    );
    document.body.append(dialog);
    dialog.showModal();
    return true;
  }

  // The way in for those who do not know of "?" yet.
  button() {
    return el("button", { type: "button", class: "quiet keys-button", "aria-label": w("help"), onclick: () => this.help() }, "?");
  }
}
