//! The program: everything is in the library.

fn main() -> std::process::ExitCode {
    ringway::process::main()
}
