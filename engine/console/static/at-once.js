// A form that goes on by itself; without scripts its button does it.
const form = document.querySelector('form[data-at-once]');
if (form) form.requestSubmit();
