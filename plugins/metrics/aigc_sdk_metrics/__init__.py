"""Evaluation whose numbers can be trusted, for aigc_sdk: one evaluator per modality.

An evaluator is a thin thing: its options choose metrics, and `accumulate.judge` gives them the samples, a batch at a time.

    accumulate.py   Batch    some samples, checked, and what several metrics need of them, computed once: `batch.once(key, make)`
                    Metric   update, merge, compute; rows for each sample; parts for comparisons
                    Summed   a Metric whose scores are functions of sums over samples: writes `measure` and `figures`
                    judge    one pass of all metrics over an exam: the Report
    text.py         the evaluator of texts; text_*.py its metrics, text_batch.py its Batch
    mauve.py        MAUVE of any features
    speech.py       the evaluator of speech; speech_*.py its metrics, their spectra, pitch and listeners
    crossmodal.py   the evaluator of pictures and films against captions (clip.py) and sounds (synchrony.py)
    opening.py      what evaluators share that keep no models: those are named in the options, or given as functions

A metric can also be used without an evaluator, for samples that come little by little or in several processes:

    metric = BLEU()
    metric.update(texts, references)      # as often as you like
    metric.merge(other)                   # pickled, from another process
    metric.compute()["bleu"]              # a Score with its protocol, count and interval

A metric of a new kind subclasses Summed where its score is a function of sums (errors by words, a mean, an F1), and gets
its interval, its comparison and a small state for nothing; otherwise Metric.
"""

from aigc_sdk import Backend

__version__ = "0.1.0"

text_metrics = Backend(
    summary="Scores of texts: BLEU, chrF, TER, ROUGE, BERTScore, perplexity, diversity, novelty, readability, MAUVE",
    artifact="text",
    evaluator="aigc_sdk_metrics.text:TextMetrics",
)

speech_metrics = Backend(
    summary="Scores of speech: word errors, mel-cepstral distortion, pitch, duration, STOI, PESQ, speaker similarity",
    artifact="audio",
    evaluator="aigc_sdk_metrics.speech:SpeechMetrics",
)

crossmodal_metrics = Backend(
    summary="Whether pictures and films fit their captions, and films their sounds",
    artifact="video",
    evaluator="aigc_sdk_metrics.crossmodal:CrossModalMetrics",
)

image_metrics = Backend(
    summary="Scores of pictures: Fréchet distance, KID, precision, recall, density, coverage, SSIM, PSNR, CLIP, copies",
    artifact="image",
    evaluator="aigc_sdk_metrics.image:ImageMetrics",
)

video_metrics = Backend(
    summary="Scores of films: PSNR and SSIM per frame, Fréchet video distance, flicker, smoothness, warping error",
    artifact="video",
    evaluator="aigc_sdk_metrics.video:VideoMetrics",
)
