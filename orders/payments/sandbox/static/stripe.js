/*
 * The local stand-in for Stripe.js, so that the pay page runs the same steps with the sandbox as with Stripe.
 *
 * It offers the sliver our page uses in deferred mode: Stripe(key).elements({mode, amount, currency,
 * paymentMethodTypes}),
 * elements.create("payment").mount(place), elements.submit(), stripe.createConfirmationToken({elements}) and
 * stripe.handleNextAction({clientSecret}). It builds nodes and sets textContent alone, and styles through
 * constructed style sheets, so it lives under a strict Content-Security-Policy.
 */
"use strict";
(() => {
  const ORIGIN = new URL(document.currentScript.src).origin;

  const WORDS = {
    en: {
      money: "TEST MONEY",
      note: "This is a sandbox. No card is charged and no money moves. Do not type a real card number.",
      choose: "Test card",
      chooseMethod: "Way to pay",
      methods: { alipay: "Alipay", wechat_pay: "WeChat Pay" },
      number: "Card number",
      expiry: "Expires (MM/YY)",
      cvc: "Security code",
      incomplete: "Check the card number, the expiry date and the security code.",
      unreachable: "The sandbox cannot be reached. Nothing was charged; try again.",
      title: "Your bank asks",
      ask: "Approve this test payment?",
      approve: "Approve",
      fail: "Refuse",
      cards: {
        success: "Succeeds",
        declined: "Declined",
        funds: "Insufficient funds",
        action: "Asks for approval (3-D Secure)",
        processing: "Processing first, succeeds later",
        disputed: "Succeeds, then disputed",
      },
    },
    zh: {
      money: "测试资金",
      note: "这是沙盒环境，不会扣款，也没有真实资金流动。请勿输入真实卡号。",
      choose: "测试卡",
      chooseMethod: "付款方式",
      methods: { alipay: "支付宝", wechat_pay: "微信支付" },
      number: "卡号",
      expiry: "有效期（月/年）",
      cvc: "安全码",
      incomplete: "请检查卡号、有效期和安全码。",
      unreachable: "无法连接沙盒。没有扣款，请重试。",
      title: "银行验证",
      ask: "是否批准这笔测试付款？",
      approve: "批准",
      fail: "拒绝",
      cards: {
        success: "付款成功",
        declined: "被拒绝",
        funds: "余额不足",
        action: "需要验证（3-D Secure）",
        processing: "先处理中，稍后成功",
        disputed: "付款成功，随后产生争议",
      },
    },
  };

  const CARDS = [
    ["success", "4242 4242 4242 4242"],
    ["declined", "4000 0000 0000 0002"],
    ["funds", "4000 0000 0000 9995"],
    ["action", "4000 0027 6000 3184"],
    ["processing", "4000 0000 0000 0077"],
    ["disputed", "4000 0000 0000 0259"],
  ];

  const SHEET = new CSSStyleSheet();
  SHEET.replaceSync(`
    :host { display: block; font: inherit; color: inherit; }
    fieldset, dialog { border: 2px dashed #b45309; border-radius: 10px; padding: 14px; background: #fff; color: #1f2937; }
    fieldset { margin: 0; min-width: 0; }
    .money { margin: 0; font-weight: 800; font-size: 1.35em; color: #92400e; letter-spacing: .04em; }
    .note { margin: 4px 0 12px; }
    label { display: block; margin: 10px 0 4px; font-weight: 600; }
    input, select { box-sizing: border-box; width: 100%; min-height: 44px; padding: 8px 10px; font: inherit;
      border: 1px solid #6b7280; border-radius: 8px; background: #fff; color: #111827; }
    input[aria-invalid="true"] { border: 2px solid #b91c1c; }
    .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
    .problem { margin: 10px 0 0; color: #b91c1c; min-height: 1.2em; }
    .problem:empty { display: none; }
    dialog { max-width: 24rem; width: calc(100% - 2rem); box-sizing: border-box; }
    dialog::backdrop { background: rgb(0 0 0 / 55%); }
    .buttons { display: flex; gap: 12px; margin-top: 16px; }
    button { flex: 1; min-height: 44px; font: inherit; font-weight: 700; border: 1px solid #1f2937; border-radius: 8px;
      background: #fff; color: #1f2937; cursor: pointer; }
    button.yes { background: #065f46; border-color: #065f46; color: #fff; }
    :focus-visible { outline: 3px solid #2563eb; outline-offset: 2px; }
  `);

  const words = () => (document.documentElement.lang.toLowerCase().startsWith("zh") ? WORDS.zh : WORDS.en);

  const node = (name, properties = {}, children = []) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  const shadowIn = (host) => {
    const root = host.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [SHEET];
    return root;
  };

  const call = async (key, path, fields) => {
    try {
      const answer = await fetch(ORIGIN + path, {
        method: "POST",
        headers: { Authorization: `Bearer ${key}` },
        body: new URLSearchParams(fields),
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
      return await answer.json();
    } catch (error) {
      return { error: { type: "api_connection_error", message: words().unreachable, cause: String(error) } };
    }
  };

  class PaymentElement {
    #host = null;
    #fields = null;
    #listeners = new Map();
    #methods;

    constructor(methods) {
      this.#methods = methods;
    }

    on(name, listener) {
      this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
      return this;
    }

    mount(place) {
      const parent = typeof place === "string" ? document.querySelector(place) : place;
      if (!parent) throw new Error("there is no such element to mount the payment form in");
      this.unmount();
      this.#host = node("div");
      const root = shadowIn(this.#host);
      root.append(this.#form());
      parent.replaceChildren(this.#host);
      queueMicrotask(() => this.#tell("ready", {}));
    }

    unmount() {
      this.#host?.remove();
      this.#host = this.#fields = null;
    }

    destroy() {
      this.unmount();
      this.#listeners.clear();
    }

    focus() {
      this.#fields?.choice.focus();
    }

    update() {}

    #form() {
      const text = words();
      const choice = node("select", { id: "choice" });
      for (const [name, number] of this.#methods.includes("card") ? CARDS : []) {
        choice.append(node("option", { value: number, textContent: `${text.cards[name]} · ${number}` }));
      }
      const others = this.#methods.filter((method) => method !== "card");
      for (const method of others) choice.append(node("option", { value: method, textContent: text.methods[method] }));
      const input = (id, value, extra) =>
        node("input", { id, value, type: "text", autocomplete: "off", spellcheck: false, ...extra });
      const number = input("number", CARDS[0][1], { inputMode: "numeric", maxLength: 23 });
      const expiry = input("expiry", "12/40", { inputMode: "numeric", maxLength: 7 });
      const cvc = input("cvc", "123", { inputMode: "numeric", maxLength: 4 });
      const problem = node("p", { className: "problem", id: "problem" });
      problem.setAttribute("role", "alert");
      const labelled = (label, field) =>
        node("div", {}, [node("label", { htmlFor: field.id, textContent: label }), field]);
      const card = node("div", {}, [
        labelled(text.number, number),
        node("div", { className: "pair" }, [labelled(text.expiry, expiry), labelled(text.cvc, cvc)]),
      ]);
      card.hidden = !this.#methods.includes("card");
      this.#fields = { choice, number, expiry, cvc, problem };
      choice.addEventListener("change", () => {
        card.hidden = this.method() !== "card";
        if (!card.hidden) number.value = choice.value;
        this.#changed();
      });
      for (const field of [number, expiry, cvc]) {
        field.setAttribute("aria-describedby", "problem");
        field.addEventListener("input", () => this.#changed());
      }
      return node("fieldset", {}, [
        node("legend", { className: "money", textContent: text.money }),
        node("p", { className: "note", textContent: text.note }),
        labelled(others.length ? text.chooseMethod : text.choose, choice),
        card,
        problem,
      ]);
    }

    #changed() {
      this.show("");
      this.#tell("change", { complete: this.means() !== null, empty: false, value: { type: this.method() } });
    }

    #tell(name, event) {
      for (const listener of this.#listeners.get(name) ?? []) listener({ elementType: "payment", ...event });
    }

    /** card, or the other method that is chosen. */
    method() {
      const chosen = this.#fields?.choice.value;
      return chosen !== "card" && this.#methods.includes(chosen) ? chosen : "card";
    }

    /** What a confirmation token is made of, or null while there is not enough for one. */
    means() {
      const method = this.method();
      const fields = { "payment_method_data[type]": method };
      if (method !== "card") return fields;
      const card = this.#card();
      if (!card) return null;
      for (const [name, value] of Object.entries(card)) fields[`payment_method_data[card][${name}]`] = value;
      return fields;
    }

    /** The card as typed, or null while it cannot be one. */
    #card() {
      if (!this.#fields) return null;
      const number = this.#fields.number.value.replaceAll(" ", "");
      const expiry = /^(0?[1-9]|1[0-2])\s*\/\s*(\d{2}|\d{4})$/.exec(this.#fields.expiry.value.trim());
      const cvc = this.#fields.cvc.value.trim();
      this.#mark("number", /^\d{12,19}$/.test(number));
      this.#mark("expiry", expiry !== null);
      this.#mark("cvc", /^\d{3,4}$/.test(cvc));
      if (!/^\d{12,19}$/.test(number) || !expiry || !/^\d{3,4}$/.test(cvc)) return null;
      return { number, exp_month: expiry[1], exp_year: expiry[2], cvc };
    }

    show(message) {
      if (this.#fields) this.#fields.problem.textContent = message;
    }

    #mark(name, right) {
      this.#fields[name].setAttribute("aria-invalid", String(!right));
    }
  }

  class Elements {
    #payment = null;
    #methods;

    constructor(methods) {
      this.#methods = methods;
    }

    create(type) {
      if (type !== "payment") throw new Error("the sandbox offers the payment element alone");
      if (this.#payment) throw new Error("there can be one payment element only");
      this.#payment = new PaymentElement(this.#methods);
      return this.#payment;
    }

    getElement(type) {
      return type === "payment" ? this.#payment : null;
    }

    update() {}

    async submit() {
      if (this.#payment?.means()) return { selectedPaymentMethod: this.#payment.method() };
      const message = words().incomplete;
      this.#payment?.show(message);
      return { error: { type: "validation_error", code: "incomplete_payment_details", message } };
    }
  }

  const ask = () =>
    new Promise((resolve) => {
      const text = words();
      const host = node("div");
      const answer = (outcome) => {
        host.remove();
        resolve(outcome);
      };
      const button = (label, className, outcome) => {
        const made = node("button", { type: "button", textContent: label, className });
        made.addEventListener("click", () => answer(outcome));
        return made;
      };
      const title = node("h2", { id: "title", className: "money", textContent: `${text.money} · ${text.title}` });
      const dialog = node("dialog", {}, [
        title,
        node("p", { textContent: text.ask }),
        node("div", { className: "buttons" }, [
          button(text.approve, "yes", "succeed"),
          button(text.fail, "no", "fail"),
        ]),
      ]);
      dialog.setAttribute("aria-labelledby", "title");
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        answer("fail");
      });
      shadowIn(host).append(dialog);
      document.body.append(host);
      dialog.showModal();
    });

  const intentOf = (clientSecret) => String(clientSecret).split("_secret_")[0];

  class SandboxStripe {
    #key;

    constructor(key) {
      if (!String(key).startsWith("pk_test_")) throw new Error("the sandbox takes a key that starts with pk_test_");
      this.#key = key;
    }

    elements({ paymentMethodTypes = ["card"] } = {}) {
      const known = paymentMethodTypes.filter((method) => method === "card" || method in WORDS.en.methods);
      if (known.length === 0) throw new Error("the sandbox offers card, alipay and wechat_pay alone");
      return new Elements(known);
    }

    async createConfirmationToken({ elements, params = {} }) {
      const fields = elements?.getElement("payment")?.means();
      if (!fields) return { error: { type: "validation_error", message: words().incomplete } };
      if (params.return_url) fields.return_url = params.return_url;
      const answer = await call(this.#key, "/v1/confirmation_tokens", fields);
      if (answer.error) {
        elements.getElement("payment").show(answer.error.message);
        return { error: answer.error };
      }
      return { confirmationToken: answer };
    }

    async handleNextAction({ clientSecret }) {
      const outcome = await ask();
      const path = `/sandbox/payment_intents/${encodeURIComponent(intentOf(clientSecret))}/authenticate`;
      const answer = await call(this.#key, path, { outcome, client_secret: clientSecret });
      if (answer.error) return { error: answer.error };
      if (answer.last_payment_error) return { error: answer.last_payment_error };
      return { paymentIntent: answer };
    }
  }

  globalThis.Stripe = (key) => new SandboxStripe(key);
})();
