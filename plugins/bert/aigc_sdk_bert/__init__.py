"""BERT and its relatives, for aigc_sdk: fine-tune, judge, label, fill masks, embed."""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="BERT and other encoders: fine-tune, judge, label and explain texts, fill masks, embed",
    artifact="text",
    generator="aigc_sdk_bert.model:BERT",
    trainer="aigc_sdk_bert.train:BERTTrainer",
    evaluator="aigc_sdk_bert.judge:Judge",
    opens=("bert", "roberta", "distilbert", "electra", "modernbert", "xlm-roberta"),
)
