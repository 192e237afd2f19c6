// How a group of overlays shows alerts, and buttons to try it. The settings belong to the group and are kept by the
// server: every overlay of the group follows them at once.

import { untilKnown } from "../api.js";
import { act, sayNear, sendOnce } from "../console/act.js";
import { el, say } from "../dom.js";
import { decimals, minorOf } from "../money.js";
import { meant, t } from "./words.js";

// Name, least, most and how many of the server's units one of the form's is; amounts are asked for as amounts.
const NUMBERS = [
  ["show_ms", 2, 20, 1000],
  ["hold_s", 5, 600, 1],
  ["hold_said_s", 30, 3600, 1],
  ["burst_per_s", 1, 100, 1],
  ["waiting_max", 1, 500, 1],
];
const AMOUNTS = ["min_minor", "large_minor"];
const TESTS = { order: "testOrder", gift: "testGift", burst: "testBurst" };
const STANDARD = {
  show_ms: 6000,
  hold_s: 30,
  hold_said_s: 300,
  min_minor: 0,
  large_minor: 0,
  burst_per_s: 2,
  waiting_max: 50,
  compress: "auto",
  sound: null,
};

// Minor units as a person types them, digit by digit.
function amountText(minor, currency) {
  const digits = decimals(currency);
  const text = String(minor).padStart(digits + 1, "0");
  return digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
}

function select(allowed, value) {
  return el("select", {}, ...allowed.map((word) => el("option", { value: word, selected: word === value }, meant(word))));
}

export class Groups {
  constructor(stream, api, currency) {
    Object.assign(this, { stream, api, currency, group: "main", inputs: {} });
    this.title = el("h2", {});
    this.fields = el("div", { class: "grid" });
    this.save = el("button", { type: "submit" }, t("save"));
    const form = el("form", { onsubmit: (event) => this.send(event) }, this.fields, el("p", {}, this.save));
    const tests = Object.entries(TESTS).map(([kind, word]) => {
      const button = el("button", { type: "button", class: "quiet", "data-test": kind, onclick: () => this.test(button, kind) }, t(word));
      return button;
    });
    this.node = el(
      "section",
      { class: "card groups", id: "alert-group", hidden: true },
      this.title,
      el("p", { class: "soft small" }, t("alertsText")),
      form,
      el("h3", {}, t("tryIt")),
      el("div", { class: "buttons" }, ...tests),
    );
  }

  path(rest) {
    return `/streams/${encodeURIComponent(this.stream.id)}/${rest}`;
  }

  async show(group) {
    if (this.shown === group) return;
    this.shown = this.group = group;
    say(this.title, t("alertsTitle", { group }));
    const { items } = await untilKnown(() => this.api("GET", this.path("alert-groups")));
    if (this.group === group) this.fill(items.find((one) => one.name === group) ?? STANDARD);
  }

  fill(settings) {
    const rows = [];
    const put = (name, label, input) => {
      this.inputs[name] = input;
      input.name = name;
      rows.push(el("label", {}, label, input));
    };
    for (const [name, least, most, per] of NUMBERS) {
      const attributes = { type: "number", inputmode: "decimal", required: true, min: least, max: most, step: per > 1 ? 0.5 : 1 };
      put(name, t(name), el("input", { ...attributes, value: settings[name] / per }));
    }
    for (const name of AMOUNTS) {
      const value = amountText(settings[name], this.currency);
      put(name, t(name, { currency: this.currency }), el("input", { inputmode: "decimal", required: true, value }));
    }
    put("compress", t("compress"), select(["auto", "off"], settings.compress));
    put("sound", t("groupSound"), select(["none", "chime"], settings.sound ?? "none"));
    this.fields.replaceChildren(...rows);
  }

  read() {
    const body = { compress: this.inputs.compress.value, sound: this.inputs.sound.value };
    for (const [name, , , per] of NUMBERS) body[name] = Math.round(Number(this.inputs[name].value) * per);
    for (const name of AMOUNTS) {
      body[name] = minorOf(this.inputs[name].value, this.currency);
      if (body[name] !== null) continue;
      this.inputs[name].focus();
      sayNear(this.inputs[name], t("badAmount"), true);
      return null;
    }
    return body;
  }

  async send(event) {
    event.preventDefault();
    const body = this.read();
    if (!body) return;
    const path = this.path(`alert-groups/${encodeURIComponent(this.group)}`);
    await act(this.save, () => this.api("PUT", path, body), () => t("saved"));
  }

  test(button, kind) {
    const body = { kind, group: this.group, name: t("testName") };
    if (kind === "gift") Object.assign(body, { message: t("testMessage"), amount_minor: 52_000 });
    if (kind === "burst") Object.assign(body, { units: 214, amount_minor: 639_860 });
    return act(button, () => sendOnce(this.api, this.path("alerts/test"), body), () => t("sent"));
  }
}
