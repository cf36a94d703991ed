/*
 * gw-bridge.js: asks consent platforms of the page what the visitor answered, and hands it to the tag.
 *
 * gw.js loads it, from the gateway's own origin and with its integrity hash, when its element names a source in
 * `data-consent` or when the page calls gateway.signals(). It decides nothing: what a platform says goes to the gateway as
 * it is, in `signals` of every request, and is judged there.
 *
 * 1. A source has answered when the visitor has: a string that is final, an update of consent mode, a choice that is
 *    explicit. Defaults of a page or of a region travel with events, and are never an answer.
 * 2. Events wait until every source has answered, or `data-wait` is over.
 * 3. An answer the gateway does not know yet is sent at once by POST /consent: a withdrawal waits for no event. What it
 *    knows is kept in localStorage once it has taken it; what did not arrive is said again on the next page.
 * 4. A value of a kind the gateway would refuse is left out: absent, never guessed. One wrong field would lose the events.
 *
 * Sources that load late are looked for as long as the page lives. No eval, no inline script, no style, no cookie is read.
 */
(function (w, d) {
  var tag = d.currentScript && d.currentScript.gateway;
  if (!tag) return; // not loaded by gw.js
  var names = tag.asks.split(/\s+/).filter(Boolean);
  var awaited = names.slice();
  var known = {}; // source: what it says, defaults included
  var answers = {}; // source: what the visitor answered
  var sent = {}; // source: the text of an answer that is on its way
  var taken = {}; // source: an answer the gateway has taken
  var underway = 0;
  var crossed = 0;
  var again = 0;
  var timer = 0;
  var PAUSE_MS = 50;

  // ------------------------------------------------------------------ what the gateway takes

  var TEXT_MAX = 16384;
  var GOOGLE =
    "ad_storage ad_user_data ad_personalization analytics_storage functionality_storage personalization_storage security_storage".split(" ");

  function text(value) {
    // One character more than the gateway reads is enough for it to see, and to count, that a string is too long.
    if (typeof value === "string" && value) return value.slice(0, TEXT_MAX + 1);
  }

  function map(value, fits) {
    var made = {};
    var some;
    Object.keys(Object(value)).slice(0, 1000).forEach(function (key) {
      if (fits(key, value[key])) some = made[key] = value[key];
    });
    if (some !== undefined) return made;
  }

  var FIELDS = {
    tcf: text,
    ac: text,
    gpp: text,
    us_privacy: text,
    gcs: text,
    gcd: text,
    gdpr: function (value) {
      if (value === true || value === 1) return true;
      if (value === false || value === 0) return false;
    },
    gpp_sid: function (value) {
      // -1 stands for: not known yet.
      var fits = Array.isArray(value) && value.length <= 32;
      if (fits && value.every(function (id) { return Number.isSafeInteger(id) && id >= 0; })) return value.slice();
    },
    google: function (value) {
      return map(value, function (key, word) { return GOOGLE.indexOf(key) >= 0 && (word === "granted" || word === "denied"); });
    },
    platform: function (value) {
      if (typeof value === "string" && value.length <= 40) return value;
    },
    choice: function (value) {
      if (["explicit", "implied", "not_required", "none"].indexOf(value) >= 0) return value;
    },
    categories: function (value) {
      return map(value, function (key, on) { return key.length <= 120 && typeof on === "boolean"; });
    },
    at_ms: function (value) {
      if (Number.isSafeInteger(value)) return value;
    }
  };

  function clean(found) {
    var made = {};
    Object.keys(Object(found)).forEach(function (key) {
      var value = FIELDS[key] && FIELDS[key](found[key]);
      if (value !== undefined) made[key] = value;
      else if (found[key] != null && found[key] !== "") console.warn("gateway.signals: left out", key);
    });
    return made;
  }

  // ------------------------------------------------------------------ telling the gateway

  function merged(sources) {
    return Object.assign.apply(null, [{}].concat(Object.keys(sources).map(function (source) { return sources[source]; })));
  }

  function stored(name) {
    try {
      return localStorage[name];
    } catch (e) {}
  }

  function kept() {
    // What the gateway has taken, by source. Other tabs of the site write it too; without storage this page remembers.
    try {
      return Object(JSON.parse(stored("gwb")));
    } catch (e) {
      return taken;
    }
  }

  function keep(said) {
    taken = Object.assign({}, kept(), said);
    try {
      localStorage.gwb = JSON.stringify(taken);
    } catch (e) {}
  }

  function record() {
    Object.keys(answers).forEach(function (source) { sent[source] = JSON.stringify(answers[source]); });
    var said = Object.assign({}, answers);
    if (underway++) crossed = 1;
    tag.record({ signals: merged(said), method: "signal" })
      .then(function (response) { if (response.ok) keep(said); }, function () {})
      .then(function () {
        if (--underway) return;
        sent = {};
        // Two that were on their way together can have arrived in the wrong order: the last one is said once more.
        if (crossed) {
          crossed = 0;
          record();
        } else settle();
      });
  }

  function settle() {
    if (!awaited.length && !underway) tag.release();
  }

  function decide() {
    clearTimeout(timer);
    timer = 0;
    var before = kept();
    var fresh = Object.keys(answers).some(function (source) {
      return JSON.stringify(answers[source]) !== (sent[source] || JSON.stringify(before[source]));
    });
    if (fresh || again) record();
    else settle();
    again = 0;
  }

  function learn(source, found, answered, acted) {
    // `answered`: this is final. `acted`: the visitor has just chosen, which is said even if it was known before.
    var fields = clean(found);
    var empty = !Object.keys(fields).length;
    known[source] = fields;
    tag.tell(merged(known));
    if (!answered || fields.choice === "implied" || fields.choice === "none" || empty && source !== "callback") return;
    // Nothing in it means: look again, the answer is in a cookie that goes along. It cannot be compared, so it is always said.
    if (empty || acted) again = 1;
    answers[source] = fields;
    awaited = awaited.filter(function (name) { return name !== source; });
    // Platforms give one answer in several calls, and half an answer would look like a refusal.
    clearTimeout(timer);
    timer = setTimeout(decide, PAUSE_MS);
  }

  d.addEventListener("visibilitychange", function () { if (timer && d.visibilityState === "hidden") decide(); });

  function when(found, use) {
    // Calls `use` with what is found as soon as it is there. What throws in a platform's code stays there.
    var pause = 50;
    (function look() {
      var thing;
      try {
        thing = found();
        if (thing) return use(thing);
      } catch (e) {
        if (thing) return console.warn("gateway: a consent platform failed", e);
      }
      pause = Math.min(pause * 1.1, 1000);
      setTimeout(look, pause);
    })();
  }

  function callable(name) {
    return function () { return typeof w[name] === "function" && w[name]; };
  }

  // ------------------------------------------------------------------ the sources

  var SOURCES = {
    // IAB TCF 2, CMP API v2. `cmpuishown` is a question, not an answer: the string of that moment is never used.
    tcf: function () {
      when(callable("__tcfapi"), function (api) {
        api("addEventListener", 2, function (data, success) {
          var status = success && data && data.eventStatus;
          var acted = status === "useractioncomplete";
          if (acted || status === "tcloaded")
            learn("tcf", { tcf: data.tcString, gdpr: data.gdprApplies, ac: data.addtlConsent }, 1, acted);
        });
      });
    },

    // IAB GPP, CMP API 1.1: every event carries the state in pingData; it is final while signalStatus is `ready`.
    gpp: function () {
      when(callable("__gpp"), function (api) {
        api("addEventListener", function (event, success) {
          var ping = event && event.pingData;
          if (success !== false && ping && ping.signalStatus === "ready") {
            var sections = ping.applicableSections;
            var unknown = Array.isArray(sections) && sections.indexOf(-1) >= 0;
            learn("gpp", { gpp: ping.gppString, gpp_sid: unknown ? undefined : sections }, 1);
          }
        });
      });
    },

    // Google's consent mode, as the page calls it: gtag("consent", "default" or "update", {...}) puts its arguments object
    // into dataLayer. Only what stands there is read, never what Google's tag assumes about silence. An update is stronger
    // than a default, whatever came first; a default for regions only does not say whether it holds here.
    google: function () {
      var defaults = {};
      var updates = {};
      var layer;
      var heard;

      function take(entry) {
        if (Object.prototype.toString.call(entry) !== "[object Arguments]" || entry[0] !== "consent") return;
        var update = entry[1] === "update";
        var said = Object(entry[2]);
        if (!update && (entry[1] !== "default" || said.region)) return;
        GOOGLE.forEach(function (type) {
          if (said[type] === "granted" || said[type] === "denied") (update ? updates : defaults)[type] = said[type];
        });
        heard = 1;
      }

      function read(entries) {
        // All of them before anything is said: only the last state is an answer.
        heard = 0;
        [].forEach.call(entries, take);
        if (heard) learn("google", { google: Object.assign({}, defaults, updates) }, Object.keys(updates).length);
      }

      function attach() {
        // Other scripts put a push of their own over this one and call it. A page may also begin a new list: so this never
        // finds what it looks for, and goes on looking.
        if (!Array.isArray(w.dataLayer) || w.dataLayer === layer) return;
        layer = w.dataLayer;
        var push = layer.push;
        layer.push = function () {
          var length = push.apply(this, arguments);
          read(arguments);
          return length;
        };
        read(layer);
      }

      when(attach);
    },

    // Usercentrics. Version 3: __ucCmp.getConsentDetails() promises {consent: {type}, categories: {slug: {state}}}, and the
    // events of a decision do not carry it, so it is asked again. Version 2: UC_UI.getServicesBaseInfo() lists services with
    // {categorySlug, consent: {status, history: [{type}]}}. A category is on when all of it is; a choice is one when the
    // platform calls it explicit. Event names: usercentrics.com/docs, Web CMP v2 Events and v3 events; shapes: the
    // declarations of walkerOS, packages/web/sources/cmps/usercentrics. Read November 2026. When a version 2 event fires
    // before the decision is stored is not documented: it is read again a little later.
    usercentrics: function () {
      function heard(explicit, categories) {
        learn("usercentrics", { platform: "usercentrics", choice: explicit ? "explicit" : "implied", categories: categories }, 1);
      }

      function version3(details) {
        var categories = {};
        Object.keys(details.categories).forEach(function (slug) {
          categories[slug] = details.categories[slug].state === "ALL_ACCEPTED";
        });
        heard(/^explicit$/i.test(details.consent.type), categories);
      }

      function version2(services) {
        var categories = {};
        var explicit;
        services.forEach(function (service) {
          var on = service.consent.status === true;
          categories[service.categorySlug] = on && categories[service.categorySlug] !== false;
          explicit = explicit || (service.consent.history || []).some(function (entry) { return /^explicit$/i.test(entry.type); });
        });
        if (services.length) heard(explicit, categories);
      }

      function read() {
        var now = w.__ucCmp;
        var old = w.UC_UI;
        Promise.resolve()
          .then(function () {
            if (now && now.getConsentDetails) return now.getConsentDetails().then(version3);
            if (old && old.getServicesBaseInfo && old.isInitialized()) return Promise.resolve(old.getServicesBaseInfo()).then(version2);
          })
          .catch(function () {}); // not ready yet: an event will say when
      }

      "UC_CMP_API_READY UC_UI_INITIALIZED UC_UI_CMP_EVENT UC_CONSENT ucEvent".split(" ").forEach(function (name) {
        w.addEventListener(name, function () {
          read();
          setTimeout(read, 500);
        });
      });
      read();
    },

    // Osano. Both events hand over {CATEGORY: "ACCEPT" or "DENY"}, `initialized` also to a listener that comes late. It is
    // documented to hand over nothing before the visitor chose; older builds hand over defaults then, so it counts only
    // beside the stored record. Source: developers.osano.com, CMP JavaScript API, read November 2026.
    osano: function () {
      function heard(consent) {
        var categories = {};
        Object.keys(Object(consent)).forEach(function (name) {
          if (consent[name] === "ACCEPT" || consent[name] === "DENY") categories[name] = consent[name] === "ACCEPT";
        });
        if (Object.keys(categories).length) learn("osano", { platform: "osano", choice: "explicit", categories: categories }, 1);
      }

      when(function () { return w.Osano.cm.addEventListener && w.Osano.cm; }, function (cm) {
        cm.addEventListener("osano-cm-consent-saved", function (consent) { heard(consent || cm.getConsent()); });
        cm.addEventListener("osano-cm-initialized", function (consent) {
          if (stored("osano_consentmanager")) heard(consent);
        });
      });
    },

    // Shopify. currentVisitorConsent() answers {analytics, marketing, preferences, sale_of_data}, each "yes", "no" or empty
    // while nothing was decided. Storefronts load the interface on demand. Source: shopify.dev, Customer Privacy API, read
    // November 2026.
    shopify: function () {
      function read() {
        var consent = w.Shopify.customerPrivacy.currentVisitorConsent();
        var categories = {};
        Object.keys(Object(consent)).forEach(function (name) {
          if (consent[name] === "yes" || consent[name] === true) categories[name] = true;
          if (consent[name] === "no" || consent[name] === false) categories[name] = false;
        });
        if (Object.keys(categories).length) learn("shopify", { platform: "shopify", choice: "explicit", categories: categories }, 1);
      }

      d.addEventListener("visitorConsentCollected", read);
      when(function () { return w.Shopify && (w.Shopify.customerPrivacy || w.Shopify.loadFeatures); }, function () {
        if (w.Shopify.customerPrivacy) read();
        else w.Shopify.loadFeatures([{ name: "consent-tracking-api", version: "0.1" }], function (error) { if (!error) read(); });
      });
    },

    // The page itself: gateway.signals({...}) with the same fields. Nothing to look for.
    callback: function () {}
  };

  tag.api.signals = function (found) { learn("callback", found, 1); };
  tag.asked.splice(0).forEach(tag.api.signals);
  names.forEach(function (name) {
    if (Object.prototype.hasOwnProperty.call(SOURCES, name)) SOURCES[name]();
    else console.warn("gateway: no consent source is called", name);
  });
})(window, document);
