"""Text from recurrent networks. This file is the manifest; it does not import torch."""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="Text from recurrent networks, LSTM and GRU, by characters or byte pairs",
    artifact="text",
    generator="aigc_sdk_rnn.model:RNN",
    trainer="aigc_sdk_rnn.train:RNNTrainer",
    evaluator="aigc_sdk_rnn.evaluate:BitsPerByte",
    api=1,
)
