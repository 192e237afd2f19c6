// Ask for a key where the address brought none. It is typed like a password and stays in this tab.

import { el } from "./dom.js";
import { translator } from "./i18n.js";

const t = translator({
  title: ["Your key", "您的密钥"],
  text: ["Open the link you were given, or paste your key here.", "请打开收到的链接，或在此粘贴密钥。"],
  refused: ["This key is not accepted here. Ask the organiser for a new one.", "此密钥无效，请向主办方索取新的密钥。"],
  go: ["Open", "打开"],
});

export function keyForm(onKey, refused) {
  const input = el("input", { type: "password", name: "key", autocomplete: "off", required: true });
  return el(
    "form",
    {
      class: "card",
      onsubmit: (event) => {
        event.preventDefault();
        onKey(input.value.trim());
      },
    },
    el("h1", {}, t("title")),
    refused ? el("p", { class: "note bad", role: "alert" }, t("refused")) : el("p", { class: "soft" }, t("text")),
    el("label", {}, t("title"), input),
    el("p", {}, el("button", { class: "wide", type: "submit" }, t("go"))),
  );
}
