/*
 * gw.js: the gateway's own small tag.
 *
 *   <script defer src="https://t.shop.example/gw.js"></script>
 *
 * What it does, in order: finds its own script element and the gateway's address from it; holds every event until the
 * visitor's consent is known, or `data-wait` milliseconds have passed; sends what it holds in one request that causes no
 * preflight and carries the gateway's cookies; goes on sending as things happen. It keeps nothing about the visitor: ids
 * live in HttpOnly cookies that scripts cannot read. It never uses eval, inline styles or inline handlers.
 *
 * Attributes of the script element:
 *   data-global    name of the global object (default: gateway), for example Echo
 *   data-mode      auto (default) sends a page view; manual sends nothing until it is called
 *   data-campaign  code of the campaign that this page's conversions are for: every event but page views carries it
 *   data-event     sends this event once as the page loads, with data-value, data-currency, data-order-id, data-goal
 *   data-wait      milliseconds to wait for consent (default 1500); then events go out with consent unset
 *   data-consent   where the page has the visitor's answer, separated by spaces: tcf gpp google usercentrics osano shopify
 *                  callback. One further script of the gateway, the bridge, is loaded to ask there
 *   data-downloads file extensions whose links count as downloads (default: pdf zip ...; empty: none)
 *   data-link      other domains of the same owner, separated by spaces, to which clicks carry the visitor's id
 *
 * Attributes of elements: data-gw-event on a link, button or form sends that event on click or submit, with
 * data-gw-value, data-gw-currency, data-gw-order-id, data-gw-goal; any other data-gw-* becomes a property.
 *
 * Calls: gateway.track(name, data), gateway.page(data), gateway.link(url), gateway.signals({...}) with consent signals as
 * the page has them, gateway.consent({analytics: "granted", ...}) on every page with what the visitor chose, and
 * gateway.consent({...}, {method: "banner"}) when the visitor answered just now: that is always sent.
 * Before the script has loaded: window.gateway = window.gateway || []; gateway.push(["track", "sign_up", {}]).
 */
(function (w, d) {
  var script = d.currentScript || d.querySelector('script[src*="/gw."]');
  var own = script.dataset;
  var origin = new URL(script.src, d.baseURI).origin;
  var name = own.global || "gateway";
  var early = w[name];
  var held = [];
  var known = null;
  var signals;
  var asked = [];
  var bridged;
  var ready = 0;
  var first = 1;
  var timer = 0;
  var n = navigator;
  var loc = w.location;
  var arrived = new URL(loc.href).searchParams.get("_gwl");

  function ulid() {
    // Time first, then randomness: the gateway's index is written at its end.
    var text = "";
    var alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    var now = Date.now();
    var i;
    for (i = 0; i < 10; i++) {
      text = alphabet[now % 32] + text;
      now = Math.floor(now / 32);
    }
    var random = crypto.getRandomValues(new Uint8Array(16));
    for (i = 0; i < 16; i++) text += alphabet[random[i] % 32];
    return text;
  }

  function session() {
    // Start of the visit, kept for this tab only, and only where analytics was agreed to.
    try {
      var store = w.sessionStorage;
      if (!known || known.analytics !== "granted" && known.analytics_storage !== "granted") return;
      var start = +store.gws || Math.floor(Date.now() / 1000);
      store.gws = start;
      return start;
    } catch (e) {}
  }

  function blocked(response) {
    var status = response.status;
    if (status === 403 || status === 421) console.warn("Tracking blocked for this domain", loc.hostname, origin);
    if (status === 400)
      // What the page sent is wrong. An answer that cannot be read changes nothing.
      response.json().then(function (answer) {
        console.warn("Tracking refused", answer.error.code, answer.error.field || "");
      }).catch(function () {});
    // Kept back for a reason that somebody must look at, such as a campaign code that does not exist.
    status = response.headers.get("X-Gateway-Dropped");
    if (status && status !== "consent") console.warn("Tracking dropped", status);
    return response;
  }

  function post(path, body) {
    // A string body and no header of our own: no preflight. With cookies, and finished even if the page goes away.
    return fetch(origin + path, { method: "POST", body: body, credentials: "include", keepalive: true, mode: "cors" }).then(blocked);
  }

  function flush() {
    clearTimeout(timer);
    timer = 0;
    if (!ready || !held.length) return;
    var events = held.splice(0, 50);
    var message = { events: events, sent_at_ms: Date.now(), tag: "__VERSION__" };
    if (known) message.consent = known;
    if (signals) message.signals = signals;
    if (n.globalPrivacyControl) message.gpc = true;
    var start = session();
    if (start) message.session = start;
    var body = JSON.stringify(message);
    // The first request is a fetch, so that a blocked domain can be told; later ones may be beacons.
    if (!first && n.sendBeacon && n.sendBeacon(origin + "/collect", body)) return flush();
    first = 0;
    post("/collect", body).then(flush, function () {});
  }

  function soon() {
    if (ready && !timer) timer = setTimeout(flush, 50);
  }

  function add(event, data) {
    var item = { id: ulid(), name: event, occurred_at_ms: Date.now(), url: loc.href, title: d.title };
    if (d.referrer) item.referrer = d.referrer;
    if (own.campaign && event !== "page_view") item.campaign = own.campaign;
    var fields = " id url title referrer value currency order_id goal items search person test campaign click_id coupons ";
    for (var key in data || {}) {
      if (data[key] === undefined) continue;
      if (key === "props") item.props = Object.assign(item.props || {}, data.props);
      else if (fields.indexOf(" " + key + " ") >= 0) item[key] = data[key];
      else (item.props = item.props || {})[key] = data[key];
    }
    held.push(item);
    soon();
    return item.id;
  }

  function release() {
    ready = 1;
    flush();
  }

  function record(body) {
    return post("/consent", JSON.stringify(Object.assign(body, arrived && { link: arrived })));
  }

  function bridge() {
    // Reading consent platforms is not everybody's need: it is a script of its own, of the same version, loaded once.
    if (bridged) return;
    bridged = d.createElement("script");
    bridged.gateway = {
      asks: own.consent || "",
      asked: asked,
      api: api,
      record: record,
      release: release,
      tell: function (found) { signals = found; }
    };
    bridged.crossOrigin = "anonymous";
    bridged.integrity = "__BRIDGE__";
    bridged.nonce = script.nonce;
    bridged.src = origin + "/gw-bridge.__VERSION__.js";
    d.head.appendChild(bridged);
  }

  function consent(choice, details) {
    // The page says what the visitor chose. What is new is recorded; everything held goes out under it. An answer given
    // just now, which `method` tells, is always new: the visitor may have withdrawn elsewhere since.
    known = choice;
    var text = JSON.stringify(choice);
    try {
      if (!(details && details.method) && localStorage.gwc === text) return release();
    } catch (e) {}
    record(Object.assign({ choice: choice }, details))
      .then(function (response) {
        // What did not arrive is said again on the next page.
        if (response.ok) localStorage.gwc = text;
      })
      .then(release, release);
  }

  function link(url) {
    // A promise of the address with a token that carries the visitor's id to another domain, for two minutes.
    var target = new URL(url, loc.href);
    return fetch(origin + "/link?to=" + target.hostname, { credentials: "include" })
      .then(function (response) { return response.json(); })
      .then(function (answer) {
        if (answer.token) target.searchParams.set(answer.parameter, answer.token);
        return target.href;
      }, function () { return target.href; });
  }

  function described(element, prefix) {
    var data = {};
    var set = element.dataset;
    for (var key in set) {
      if (key.indexOf(prefix) || key === prefix + "Event") continue;
      var plain = key.slice(prefix.length);
      plain = plain.charAt(0).toLowerCase() + plain.slice(1).replace(/[A-Z]/g, function (c) { return "_" + c.toLowerCase(); });
      data[plain] = set[key];
    }
    return data;
  }

  function marked(element, kind) {
    var found = element && element.closest && element.closest("[data-gw-event]");
    if (found && (found.tagName === "FORM") === (kind === "submit")) {
      add(found.dataset.gwEvent, described(found, "gw"));
      flush(); // at once: the page may be about to be left
    }
  }

  var extensions = own.downloads === undefined ? "pdf zip docx? xlsx? pptx? csv txt mp3 mp4 dmg exe apk" : own.downloads;
  var download = extensions && new RegExp("\\.(" + extensions.trim().replace(/\s+/g, "|") + ")$", "i");
  var linked = (own.link || "").split(" ");

  d.addEventListener("click", function (event) {
    marked(event.target, "click");
    var anchor = event.target.closest && event.target.closest("a[href]");
    if (!anchor) return;
    if (download && download.test(anchor.pathname)) add("download", { url: loc.href, file: anchor.pathname.split("/").pop() });
    if (own.link && !event.defaultPrevented && event.button === 0 && !event.metaKey && !event.ctrlKey && anchor.target !== "_blank" &&
        linked.some(function (host) { return anchor.hostname === host || anchor.hostname.slice(-host.length - 1) === "." + host; })) {
      event.preventDefault();
      link(anchor.href).then(function (href) { loc.assign(href); });
    }
  });
  d.addEventListener("submit", function (event) { marked(event.target, "submit"); }, true);
  d.addEventListener("visibilitychange", function () {
    if (d.visibilityState !== "hidden") return;
    // What the page said and the bridge has not come for yet: a withdrawal must not be lost with the page.
    asked.forEach(function (found) { record({ signals: found }); });
    flush();
  });

  // Whoever leaves before consent is known: what was held goes out with consent unset, and is judged so.
  w.addEventListener("pagehide", release);

  var api = w[name] = {
    track: add,
    page: function (data) { return add("page_view", data); },
    consent: consent,
    link: link,
    signals: function (found) { asked.push(found); bridge(); },
    push: function (call) { return api[call[0]].apply(api, call.slice(1)); },
    version: "__VERSION__"
  };

  // Conversions of a page that is shown again by reload or the back button are not sent again.
  var entry = performance.getEntriesByType && performance.getEntriesByType("navigation")[0];
  var fresh = !entry || entry.type === "navigate" || entry.type === "prerender";
  if (own.mode !== "manual") {
    api.page();
    if (own.event && fresh) {
      var data = described(script, "");
      "global mode event wait downloads link consent campaign".split(" ").forEach(function (key) { delete data[key]; });
      add(own.event, data);
    }
  }
  if (Array.isArray(early)) early.forEach(api.push);

  // A token from another domain of the owner was read by the gateway: take it out of the address bar.
  if (arrived && w.history.replaceState) {
    var clean = new URL(loc.href);
    clean.searchParams.delete("_gwl");
    w.history.replaceState(w.history.state, "", clean.href);
  }

  if (!ready) setTimeout(release, own.wait === undefined ? 1500 : +own.wait);
  if (own.consent) bridge(); // last: a policy that forbids it stops nothing else
})(window, document);
