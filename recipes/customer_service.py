"""Customer service: learn from past questions and replies; answer, ask back, or hand over.

    accelerate launch recipes/customer_service.py --train_file questions.csv
    python recipes/customer_service.py --train_file questions.csv --documents handbook --templates_file templates.toml

Expect a right first reply to about 65.3 % of covid_faq's paraphrases with --retriever base, which trains nothing
(tests/benchmarks/customer_service.py --only covid_faq).
"""

from adapters.recipe import (
    command,
)  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/customer_service"}


def main() -> None:
    """Read, learn, tune, evaluate, save and print."""
    with command():
        from adapters.applications.customer_service.learning import CustomerService

        service = CustomerService(__doc__, DEFAULTS)
        service.read()
        service.learn()
        assistant = service.tune()
        scores = service.evaluate(assistant)
        service.save_and_print(assistant, scores)


if __name__ == "__main__":
    main()
