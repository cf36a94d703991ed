// The shop's own script: a consent banner of twenty lines, and the purchase on the thank-you page.
(function () {
  window.gateway = window.gateway || [];
  var banner = document.getElementById("banner");
  var choices = {
    all: { functional: "granted", analytics: "granted", marketing: "granted" },
    none: { functional: "denied", analytics: "denied", marketing: "denied" },
    analytics: { functional: "denied", analytics: "granted", marketing: "denied" },
  };

  function decide(name, method) {
    localStorage.setItem("shop-consent", name);
    banner.hidden = true;
    window.gateway.push(["consent", choices[name], { method: method, notice: "1" }]);
  }

  document.querySelectorAll("[data-choice]").forEach(function (button) {
    button.addEventListener("click", function () {
      decide(button.dataset.choice, localStorage.getItem("shop-consent") ? "settings" : "banner");
    });
  });
  document.getElementById("privacy").addEventListener("click", function () {
    banner.hidden = false;
  });

  var order = document.getElementById("order");
  if (order) window.gateway.push(["track", "purchase", JSON.parse(order.textContent)]);

  var known = localStorage.getItem("shop-consent");
  // Said again on every page, without a method: the answer was given earlier.
  if (known) window.gateway.push(["consent", choices[known], { notice: "1" }]);
  else banner.hidden = false;
})();
