// What Gradio's slider of two images lacks: the keyboard, and words for those who do not see it.
() => {
  const STEP = 0.05;
  const picture = (handle) => handle.parentElement.querySelector("img").getBoundingClientRect();
  const fraction = (handle) => {
    const at = /translateX\(([-\d.]+)px\)/.exec(handle.style.transform);
    const { left, width } = picture(handle);
    if (!at || !width) return 0.5;
    return Math.min(1, Math.max(0, (handle.parentElement.getBoundingClientRect().left + Number(at[1]) - left) / width));
  };
  const mouse = (target, type, x, y) =>
    target.dispatchEvent(new MouseEvent(type, {
      bubbles: true, cancelable: true, view: window, clientX: x, clientY: y, button: 0, buttons: 1,
    }));
  const move = (handle, to) => {
    const box = picture(handle);
    const x = (part) => box.left + Math.min(1, Math.max(0, part)) * box.width;
    const y = box.top + box.height / 2;
    mouse(handle, "mousedown", x(fraction(handle)), y);
    mouse(window, "mousemove", x(to), y);
    mouse(window, "mouseup", x(to), y);
  };
  const equip = (handle) => {
    handle.dataset.equipped = "";
    handle.tabIndex = 0;
    handle.setAttribute("role", "slider");
    handle.setAttribute("aria-label", "how much of the left picture is shown");
    handle.setAttribute("aria-valuemin", "0");
    handle.setAttribute("aria-valuemax", "100");
    const say = () => handle.setAttribute("aria-valuenow", String(Math.round(100 * fraction(handle))));
    say();
    new MutationObserver(say).observe(handle, { attributes: true, attributeFilter: ["style"] });
    handle.addEventListener("keydown", (event) => {
      const now = fraction(handle);
      const to = { ArrowLeft: now - STEP, ArrowDown: now - STEP, ArrowRight: now + STEP, ArrowUp: now + STEP,
        PageDown: now - 4 * STEP, PageUp: now + 4 * STEP, Home: 0, End: 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      move(handle, to);
    });
  };
  const look = () => {
    // a filter for choosing alone: what is dropped and cannot be read is named with its reason
    document.querySelectorAll('#photos input[type="file"]:not([accept^="image"])').forEach((input) => {
      input.accept = "image/*,.heic,.heif,.hif,.tif,.tiff,.avif";
    });
    document.querySelectorAll('[data-testid="slider"]:not([data-equipped])').forEach(equip);
    document.querySelectorAll('[data-testid="imageslider-image"][alt=""]').forEach((image) => {
      image.alt = image.style.clipPath ? "right picture" : "left picture";
    });
    document.querySelectorAll('[aria-label="common.upload"]').forEach((button) => {
      button.setAttribute("aria-label", "Add photos");
      button.title = "Add photos";
    });
  };
  look();
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}
