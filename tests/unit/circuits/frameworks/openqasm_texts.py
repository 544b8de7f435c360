"""Programs of the kinds that are published in OpenQASM, each with how Qiskit's own simulator is right about it."""

from __future__ import annotations

_2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
_3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'

_QFT_4 = """
h q[0]; cu1(pi/2) q[1],q[0]; h q[1]; cu1(pi/4) q[2],q[0]; cu1(pi/2) q[2],q[1]; h q[2];
cu1(pi/8) q[3],q[0]; cu1(pi/4) q[3],q[1]; cu1(pi/2) q[3],q[2]; h q[3];
"""

_ADDER = """
gate majority a,b,c { cx c,b; cx c,a; ccx a,b,c; }
gate unmaj a,b,c { ccx a,b,c; cx c,a; cx a,b; }
qreg cin[1]; qreg a[4]; qreg b[4]; qreg cout[1]; creg ans[5];
x a[0]; x b; // a = 1, b = 15
majority cin[0],b[0],a[0]; majority a[0],b[1],a[1]; majority a[1],b[2],a[2]; majority a[2],b[3],a[3];
cx a[3],cout[0];
unmaj a[2],b[3],a[3]; unmaj a[1],b[2],a[2]; unmaj a[0],b[1],a[1]; unmaj cin[0],b[0],a[0];
measure b[0] -> ans[0]; measure b[1] -> ans[1]; measure b[2] -> ans[2]; measure b[3] -> ans[3];
measure cout[0] -> ans[4];
"""

RUN = {
    "teleport": _2
    + """
    qreg q[3]; creg c0[1]; creg c1[1]; creg c2[1];
    gate post q { }
    u3(0.3,0.2,0.1) q[0]; h q[1]; cx q[1],q[2]; barrier q; cx q[0],q[1]; h q[0];
    measure q[0] -> c0[0]; measure q[1] -> c1[0];
    if(c0==1) z q[2]; if(c1==1) x q[2];
    post q[2]; measure q[2] -> c2[0];
    """,
    "quantum Fourier transform": _2 + "qreg q[4]; creg c[4]; x q[0]; x q[2]; barrier q;" + _QFT_4 + "measure q -> c;",
    "Fourier transform of plus": _2 + "qreg q[4]; creg c[4]; h q; barrier q;" + _QFT_4 + "measure q -> c;",
    "inverse Fourier transform by registers": _2
    + """
    qreg q[4]; creg c0[1]; creg c1[1]; creg c2[1]; creg c3[1];
    h q; barrier q; h q[0]; measure q[0] -> c0[0];
    if(c0==1) u1(pi/2) q[1]; h q[1]; measure q[1] -> c1[0];
    if(c0==1) u1(pi/4) q[2]; if(c1==1) u1(pi/2) q[2]; h q[2]; measure q[2] -> c2[0];
    if(c0==1) u1(pi/8) q[3]; if(c1==1) u1(pi/4) q[3]; if(c2==1) u1(pi/2) q[3]; h q[3]; measure q[3] -> c3[0];
    """,
    "inverse Fourier transform by numbers": _2
    + """
    qreg q[3]; creg c[3]; h q; u1(0.7) q[1]; barrier q; h q[0]; measure q[0] -> c[0];
    if(c==1) u1(pi/2) q[1]; h q[1]; measure q[1] -> c[1];
    if(c==1) u1(pi/4) q[2]; if(c==2) u1(pi/2) q[2]; if(c==3) u1(pi/2+pi/4) q[2]; h q[2]; measure q[2] -> c[2];
    """,
    "iterative phase estimation": _2
    + """
    qreg q[2]; creg c[3]; x q[1];
    h q[0]; cu1(4*3*pi/8) q[0],q[1]; h q[0]; measure q[0] -> c[0]; reset q[0];
    h q[0]; cu1(2*3*pi/8) q[0],q[1]; if(c==1) u1(-pi/2) q[0]; h q[0]; measure q[0] -> c[1]; reset q[0];
    h q[0]; cu1(3*pi/8) q[0],q[1]; if(c==1) u1(-pi/4) q[0]; if(c==2) u1(-pi/2) q[0]; if(c==3) u1(-3*pi/4) q[0];
    h q[0]; measure q[0] -> c[2];
    """,
    "ripple carry adder": _2 + _ADDER,
    "randomized benchmarking": _2
    + "qreg q[2]; creg c[2]; h q[0]; barrier q; cz q[0],q[1]; barrier q; s q[0]; cz q[0],q[1]; barrier q; "
    "s q[0]; z q[0]; h q[0]; barrier q; measure q -> c;",
    "process tomography": _2
    + """
    gate pre q { } gate post q { h q; }
    qreg q[1]; creg c[1]; pre q[0]; barrier q; h q[0]; t q[0]; barrier q; post q[0]; measure q[0] -> c[0];
    """,
    "W state": _2
    + """
    gate cH a,b { h b; sdg b; cx a,b; h b; t b; cx a,b; t b; h b; s b; x b; s a; }
    qreg q[3]; creg c[3]; u3(1.91063,0,0) q[0]; cH q[0],q[1]; ccx q[0],q[1],q[2]; x q[0]; x q[1]; cx q[0],q[1];
    measure q[0] -> c[0]; measure q[1] -> c[1]; measure q[2] -> c[2];
    """,
    "GHZ by a register": _2 + "qreg q[4]; creg c[4]; h q[0]; cx q[0],q[1]; cx q[1],q[2]; cx q[2],q[3]; measure q -> c;",
    "error correction": _2
    + """
    qreg q[3]; qreg a[2]; creg c[3]; creg syn[2];
    gate syndrome d1,d2,d3,a1,a2 { cx d1,a1; cx d2,a1; cx d2,a2; cx d3,a2; }
    x q[0]; barrier q; syndrome q[0],q[1],q[2],a[0],a[1]; measure a -> syn;
    if(syn==1) x q[0]; if(syn==2) x q[2]; if(syn==3) x q[1]; measure q -> c;
    """,
    "BB84": _2
    + """
    qreg q[4]; creg c[4]; x q[1]; x q[3]; h q[2]; h q[3]; // sent
    h q[1]; h q[3]; measure q -> c; // read in another basis in places
    """,
    "built in": "OPENQASM 2.0; qreg q[2]; creg c[2]; U(pi/3,-pi/2,0) q[0]; CX q[0],q[1]; measure q -> c;",
    "cat with broadcasting": _2 + "qreg a[1]; qreg b[3]; creg c[4]; h a; cx a[0], b; measure a[0] -> c[0]; "
    "measure b[0] -> c[1]; measure b[1] -> c[2]; measure b[2] -> c[3];",
    "whole register compared": _2
    + "qreg q[3]; creg c[2]; creg d[1]; x q[1]; measure q[0] -> c[0]; measure q[1] -> c[1]; if (c==2) h q[2]; "
    "measure q[2] -> d[0];",
    "expressions": _2
    + "gate f(a,b) q { rx(sin(a)^2+cos(b)*-a/2) q; rz(sqrt(2)+ln(3)-exp(-b)+tan(a)) q; rx(-(a-b)) q; } "
    "qreg q[1]; creg c[1]; f(0.3,pi/5) q[0]; measure q -> c;",
    "measured twice": _2 + "qreg q[1]; creg c[2]; h q[0]; measure q[0] -> c[0]; h q[0]; measure q[0] -> c[1];",
    "nothing measured": _2 + "qreg q[2]; h q[0]; cx q[0],q[1];",
    "teleport in 3": _3
    + """
    qubit[3] q; bit c0; bit c1; bit c2;
    U(0.3,0.2,0.1) q[0]; h q[1]; cx q[1],q[2]; barrier q; cx q[0],q[1]; h q[0];
    c0 = measure q[0]; c1 = measure q[1];
    if(c0) z q[2]; if(c1) { x q[2]; }
    c2 = measure q[2];
    """,
    "modifiers": _3
    + """
    qubit[3] q; bit[3] c; gphase(pi/7); h q[0];
    ctrl @ x q[0], q[1]; inv @ s q[1]; pow(2) @ t q[1]; negctrl @ ry(0.4) q[1], q[2]; ctrl(2) @ x q[0], q[1], q[2];
    ctrl @ gphase(pi/3) q[0]; inv @ ctrl @ rx(0.3) q[0], q[2]; pow(-1) @ sx q[2]; pow(0.5) @ x q[0]; h q[0];
    c = measure q;
    """,
    "aliases": _3 + "qubit[2] a; qubit[2] b; bit[4] c; let both = a ++ b; let last = both[2:3]; x both[3]; h last[0]; "
    "cx last[0], a[1]; c[0] = measure a[0]; c[1] = measure a[1]; c[2] = measure b[0]; c[3] = measure b[1];",
    "gates in 3": _3 + "gate spread(theta) a, b { ry(theta) a; ctrl @ x a, b; gphase(theta/2); } "
    "qubit[2] q; bit[2] c; spread(2*pi/5) q[0], q[1]; reset q[0]; spread(0.4) q[1], q[0]; c = measure q;",
    "arrow in 3": _3 + "qreg q[2]; creg c[2]; x q[0]; measure q -> c;",
    "loops in 3": _3
    + "qubit[2] q; bit[2] c; for int i in [0:1] { h q[0]; } h q; for uint i in {1, 0, 1} { rz(i*pi/4) q[0]; } "
    "for int i in [0:2:4] { rx(0.1*i) q[1]; } h q[0]; c = measure q;",
    "repeat until success in 3": _3
    + "qubit[2] q; bit c; bit d; h q[0]; cx q[0], q[1]; c = measure q[0]; while (!c) { h q[0]; c = measure q[0]; } "
    "d = measure q[1];",
    "break in 3": _3
    + "qubit q; bit[2] c; for int i in [0:4] { h q; c[0] = measure q; if (c[0]) { break; } else { x q; continue; } } "
    "c[1] = measure q;",
    "else and registers in 3": _3
    + "qubit[2] q; bit[2] c; bit[1] d; h q[0]; c = measure q; if (c == 1) { x q[1]; } else { h q[1]; } "
    "d[0] = measure q[1];",
    "measured in a branch in 3": _3
    + "qubit[2] q; bit[2] c; h q; c[0] = measure q[0]; if (c[0]) { c[1] = measure q[1]; reset q[0]; } h q[0]; "
    "c[0] = measure q[0];",
    "physical qubits": _3 + "bit[2] c; h $0; cx $0, $1; c[0] = measure $0; c[1] = measure $1;",
    "comments": "/* several\nlines ** */ // one\n"
    + _3
    + "qubit[1] q; // x q[0];\nbit c; /* x q[0]; */ h q[0];\nc = measure q[0];",
}
"""Programs that run."""

REFUSED = {
    "an opaque gate": (_2 + "opaque magic a; qreg q[1]; creg c[1]; magic q[0]; measure q -> c;", "magic"),
    "an input": (_3 + "input float[64] theta; qubit q; bit c; rx(theta) q; c = measure q;", "theta"),
    "a subroutine": (_3 + "def f(qubit a) { x a; } qubit q; f(q);", "Subroutine"),
    "an integer": (_3 + "int[8] a = 3; qubit q;", "int"),
    "an array": (_3 + "array[int[8], 2] a; qubit q;", "array"),
    "an extern": (_3 + "extern f(int[8]) -> int[8]; qubit q;", "Extern"),
    "a switch": (_3 + "qubit q; bit[2] c; int i = 1; switch (i) { case 0 { x q; } }", "int"),
    "a constant": (_3 + "const int n = 2; qubit[n] q;", "Constant|const"),
    "pulses": (_3 + 'defcalgrammar "openpulse"; qubit q;', "Calibration|calibration|openpulse"),
    "a number that is none": (_2 + "qreg q[1]; creg c[1]; rx(1/0) q[0]; measure q -> c;", "divide|zero|finite"),
    "an infinite number": (_2 + "qreg q[1]; creg c[1]; rx(exp(1000)) q[0]; measure q -> c;", "finite"),
}
"""Programs that are refused, with what the message has."""
