import torch

from flenwheel_core.transformer.fast import compile_for_any_length, of_any_length


def test_a_block_is_compiled_once_for_all_picture_formats() -> None:
    compiled = []

    def counting(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        compiled.append(graph)
        return graph

    def block(x: torch.Tensor, weight: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return (x * rope[0] + x * rope[1]) @ weight + x.mean(1, keepdim=True)

    run = compile_for_any_length(block, backend=counting)
    weight = torch.randn(8, 8)
    for tokens in (4096, 4032, 3952, 17):
        x, rope = torch.randn(1, tokens, 8), of_any_length((torch.randn(tokens, 8), torch.randn(tokens, 8)))
        torch.testing.assert_close(run(x, weight, rope), block(x, weight, rope))
    assert len(compiled) == 1
