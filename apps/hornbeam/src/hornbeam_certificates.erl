%% SPDX-License-Identifier: Apache-2.0
%% @doc Reads the PEM files of certificates and keys, and tells what is wrong with them before a
%% client meets it.
%% Runs in: the process that starts an application, later its listener.
-module(hornbeam_certificates).

-export([load/1, stamp/1]).
-export_type([source/0, loaded/0, reason/0, stamp/0]).

-include_lib("kernel/include/file.hrl").

%% Object identifiers of curves that hash for themselves. (RFC 8410, 3)
-define(ED25519, {1, 3, 101, 112}).
-define(ED448, {1, 3, 101, 113}).

-type source() :: #{
    %% The server's own certificate first, then the chain.
    certfile := binary(),
    %% Without it the key is in certfile.
    keyfile := binary() | undefined,
    keyfile_password := binary() | undefined,
    %% Who may have issued the certificates of clients.
    cacertfile := binary() | undefined,
    _ => _
}.
-type loaded() :: [ssl:tls_server_option()].
-type reason() :: {bad_file, Option :: atom(), Path :: binary(), What :: binary()}.
%% Differs when one of the files was written, replaced or removed.
-opaque stamp() :: [{Path :: binary(), tuple()}].

%% @doc Certificates, key and authorities as options of `ssl', out of memory: what happens to the
%% files later does no harm.
-spec load(source()) -> {ok, loaded()} | {error, reason()}.
load(#{certfile := CertFile, keyfile := KeyFile0, cacertfile := CaFile} = Source) ->
    KeyFile = key_file(Source),
    try
        Chain = certificates(certfile, CertFile),
        Key = key(KeyFile, Source),
        ok = fits(hd(Chain), Key, KeyFile, CertFile),
        Authorities = [{cacerts, certificates(cacertfile, CaFile)} || CaFile =/= undefined],
        Der = public_key:der_encode('PrivateKeyInfo', Key),
        {ok, [{cert, Chain}, {key, {'PrivateKeyInfo', Der}} | Authorities]}
    catch
        throw:{bad_file, _, _, _} = Reason -> {error, named(KeyFile0, Reason)}
    end.

key_file(#{keyfile := undefined, certfile := CertFile}) -> CertFile;
key_file(#{keyfile := KeyFile}) -> KeyFile.

named(undefined, {bad_file, keyfile, Path, What}) ->
    {bad_file, certfile, Path, <<What/binary, " (keyfile is not given)">>};
named(_, Reason) ->
    Reason.

%% @doc What the file system says of the files: cheap to ask for, and to compare.
-spec stamp(source()) -> stamp().
stamp(#{certfile := CertFile, keyfile := KeyFile, cacertfile := CaFile}) ->
    [{Path, stamp_of(Path)} || Path <- [CertFile, KeyFile, CaFile], Path =/= undefined].

%% The inode, too: a symbolic link may point elsewhere now, at a file of the same second and size.
stamp_of(Path) ->
    case file:read_file_info(Path, [raw, {time, posix}]) of
        {ok, #file_info{mtime = Time, size = Size, inode = Inode, major_device = Device}} ->
            {Time, Size, Inode, Device};
        {error, Reason} ->
            {error, Reason}
    end.

certificates(Option, Path) ->
    case [Der || {'Certificate', Der, not_encrypted} <- entries(Option, Path)] of
        [] -> fault(Option, Path, "holds no certificate in PEM");
        Ders -> [certificate(Option, Path, Der) || Der <- Ders]
    end.

certificate(Option, Path, Der) ->
    _ = decoded(fun() -> public_key:pkix_decode_cert(Der, otp) end,
        Option, Path, "holds a certificate that cannot be read"),
    Der.

entries(Option, Path) ->
    case file:read_file(Path) of
        {ok, Pem} ->
            decoded(fun() -> public_key:pem_decode(Pem) end, Option, Path,
                "holds PEM that cannot be read");
        {error, Reason} ->
            fault(Option, Path, ["cannot be read: ", file:format_error(Reason)])
    end.

key(Path, #{keyfile_password := Password}) ->
    case [Entry || {Type, _, _} = Entry <- entries(keyfile, Path), is_key(Type)] of
        [Entry] -> key(Entry, Password, Path);
        [] -> fault(keyfile, Path, "holds no private key in PEM");
        [_ | _] -> fault(keyfile, Path, "holds several private keys")
    end.

is_key(Type) ->
    lists:member(Type, ['PrivateKeyInfo', 'RSAPrivateKey', 'ECPrivateKey', 'DSAPrivateKey']).

key({_, _, not_encrypted} = Entry, undefined, Path) ->
    decoded(fun() -> public_key:pem_entry_decode(Entry) end, keyfile, Path,
        "holds a key that cannot be read");
key({_, _, not_encrypted}, _, Path) ->
    fault(keyfile_password, Path, "is not encrypted; remove keyfile_password");
key(_, undefined, Path) ->
    fault(keyfile, Path, "is encrypted; set keyfile_password");
key(Entry, Password, Path) ->
    Text = unicode:characters_to_list(Password),
    decoded(fun() -> public_key:pem_entry_decode(Entry, Text) end, keyfile_password, Path,
        "cannot be decrypted with it").

%% What the decoders of public_key raise on bytes that are not what they should be is not specified.
decoded(Decode, Option, Path, What) ->
    try
        Decode()
    catch
        error:_ -> fault(Option, Path, What);
        exit:_ -> fault(Option, Path, What)
    end.

%% Whatever the kind of key: what is signed with the one is verified with the other.
fits(Der, Private, KeyFile, CertFile) ->
    Public = public(public_key:pkix_decode_cert(Der, otp)),
    Data = <<"hornbeam">>,
    Digest = digest(Private),
    Signature = decoded(fun() -> public_key:sign(Data, Digest, signer(Private)) end,
        keyfile, KeyFile, "holds a key of a kind that is not supported"),
    case kind(Private) =:= kind(Public) andalso
        public_key:verify(Data, Digest, Signature, Public)
    of
        true ->
            ok;
        false ->
            fault(keyfile, KeyFile, ["holds a key that does not fit the first certificate of ",
                CertFile])
    end.

%% Certificates and keys are records of public_key, whose header has no types; warnings are errors
%% here, so they are taken apart as the tuples they are.
public({'OTPCertificate', Signed, _, _}) ->
    {'OTPSubjectPublicKeyInfo', {'PublicKeyAlgorithm', Algorithm, Parameters}, Key} =
        lists:keyfind('OTPSubjectPublicKeyInfo', 1, [E || E <- tuple_to_list(Signed), is_tuple(E)]),
    case Key of
        {'ECPoint', _} when Algorithm =:= ?ED25519; Algorithm =:= ?ED448 ->
            {Key, {namedCurve, Algorithm}};
        {'ECPoint', _} ->
            {Key, Parameters};
        _ ->
            Key
    end.

%% An RSA key of the kind RSASSA-PSS comes with its parameters.
signer({Key, _}) -> Key;
signer(Key) -> Key.

digest(Private) ->
    case kind(Private) of
        {ec, {namedCurve, Curve}} when Curve =:= ?ED25519; Curve =:= ?ED448 -> none;
        _ -> sha256
    end.

kind({Key, _}) when element(1, Key) =:= 'RSAPrivateKey' -> rsa;
kind({{'ECPoint', _}, Parameters}) -> {ec, Parameters};
kind(Key) when element(1, Key) =:= 'RSAPrivateKey'; element(1, Key) =:= 'RSAPublicKey' -> rsa;
kind(Key) when element(1, Key) =:= 'ECPrivateKey' -> {ec, element(4, Key)};
kind(_) -> other.

-spec fault(atom(), binary(), iodata()) -> no_return().
fault(Option, Path, What) ->
    throw({bad_file, Option, Path, unicode:characters_to_binary(What)}).
