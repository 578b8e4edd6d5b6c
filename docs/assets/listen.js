// Words light up while they are said, and begin when clicked.
for (const section of document.querySelectorAll(".said")) {
  const audio = section.querySelector("audio"), words = [...section.querySelectorAll(".word")];
  audio.ontimeupdate = () => words.forEach(word => word.classList.toggle(
    "now", !audio.paused && word.dataset.start <= audio.currentTime && audio.currentTime < word.dataset.end));
  words.forEach(word => word.onclick = () => { audio.currentTime = word.dataset.start; audio.play(); });
}
