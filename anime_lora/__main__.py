"""`python -m anime_lora`: the library's commands, which are in `anime_lora.cli`."""

from anime_lora.cli import main

if __name__ == "__main__":
    main()
