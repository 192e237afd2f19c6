// Ask before what cannot be taken back. The safe answer has the focus, and Escape means no.

import { el } from "./dom.js";

export function confirmed({ title, text, yes, no }) {
  return new Promise((decide) => {
    const close = (answer) => () => dialog.close(answer);
    const dialog = el(
      "dialog",
      { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text" },
      el("h2", { id: "dialog-title" }, title),
      el("p", { id: "dialog-text" }, text),
      el(
        "div",
        { class: "buttons" },
        el("button", { type: "button", class: "quiet", autofocus: true, onclick: close("no") }, no),
        el("button", { type: "button", class: "danger", id: "dialog-yes", onclick: close("yes") }, yes),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      decide(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

let toastTimer = null;

export function toast(text, bad = false) {
  document.querySelector(".toast")?.remove();
  clearTimeout(toastTimer);
  const node = el("p", { class: bad ? "toast bad" : "toast", role: bad ? "alert" : "status" }, text);
  document.body.append(node);
  toastTimer = setTimeout(() => node.remove(), bad ? 8000 : 4000);
}
