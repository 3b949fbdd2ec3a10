// Runs before the first paint, as a file of its own because the content security policy allows no inline script.
(function () {
  var choice = 'system';
  try {
    choice = localStorage.getItem('tenure.theme') || 'system';
  } catch (e) {
    // Storage can be switched off; the system's theme then decides.
  }
  var dark = choice === 'dark' || (choice !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
